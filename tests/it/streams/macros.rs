//! What the attributes generate for functions that return streams.

use std::pin::Pin;

use almanet::{CallError, Codec, Context, RpcError, procedure, service};
use almanet_tests::TestBroker;
use futures_util::{Stream, StreamExt as _, stream};

use super::{all, soon};

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
#[error("{number} is too much")]
pub struct TooMuch {
    number: u64,
}

#[service(prepath = "almanet.test.streams")]
mod streams {
    use futures_util::{StreamExt as _, stream::BoxStream};

    use super::{Context, Pin, Stream, TooMuch, stream};

    type Result<T> = std::result::Result<T, TooMuch>;

    /// Counts.
    #[procedure]
    pub async fn plain(to: u64) -> impl Stream<Item = u64> {
        stream::iter(0..to)
    }

    #[procedure]
    pub async fn fallible(
        context: &Context,
        from: u64,
        to: u64,
    ) -> impl Stream<Item = std::result::Result<u64, TooMuch>> + Send {
        let attempt = context.attempt();
        assert_eq!(attempt, 1);
        stream::iter(from..to).map(|number| match number {
            0..5 => Ok(number),
            _ => Err(TooMuch { number }),
        })
    }

    #[procedure(timeout = "5s", channel = "others")]
    pub async fn started(context: Context, to: u64) -> std::result::Result<BoxStream<'static, u64>, TooMuch> {
        match to {
            0..5 => Ok(stream::iter(0..to)
                .chain(stream::once(async move { context.attempt().into() }))
                .boxed()),
            number => Err(TooMuch { number }),
        }
    }

    #[procedure]
    pub async fn both(to: u64) -> std::result::Result<impl Stream<Item = Result<u64>>, TooMuch> {
        Ok(stream::iter([Ok(to), Err(TooMuch { number: to })]))
    }

    #[procedure]
    pub async fn aliased() -> Pin<Box<dyn Stream<Item = Result<()>> + Send>> {
        Box::pin(stream::iter([Ok(()), Ok(())]))
    }
}

#[tokio::test]
async fn each_form_of_a_stream_is_read_by_its_typed_caller() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let _service = streams::service().start(&serving).await.unwrap();
    for codec in [Codec::MessagePack, Codec::Json] {
        let calling = broker.session_with(|builder| builder.codec(codec)).await;
        let plain = streams::plain::stream(&calling, 3).await.unwrap();
        assert_eq!(all(plain).await.0, [0, 1, 2]);
        let fallible = streams::Client::new(&calling)
            .fallible(3, 9)
            .credit(2)
            .await
            .unwrap();
        let (items, error) = all(fallible).await;
        assert_eq!(items, [3, 4]);
        assert!(
            matches!(error, Some(CallError::Remote(TooMuch { number: 5 }))),
            "{error:?}"
        );
        let started = streams::started::stream(&calling, 2).await.unwrap();
        assert_eq!(all(started).await.0, [0, 1, 1]);
        let started = streams::started::stream(&calling, 7).await.unwrap();
        let (items, error) = all(started).await;
        assert!(items.is_empty());
        assert!(
            matches!(error, Some(CallError::Remote(TooMuch { number: 7 }))),
            "{error:?}"
        );
        let (items, error) = all(streams::both::stream(&calling, 4).await.unwrap()).await;
        assert_eq!(items, [4]);
        assert!(
            matches!(error, Some(CallError::Remote(TooMuch { number: 4 }))),
            "{error:?}"
        );
        assert_eq!(
            all(streams::aliased::stream(&calling).await.unwrap())
                .await
                .0
                .len(),
            2
        );
    }
    // The function is still a function.
    let numbers: Vec<u64> = streams::plain(2).await.collect().await;
    assert_eq!(numbers, [0, 1]);
}

/// Words, of which each call gets its own choice.
struct Dictionary {
    words: Vec<String>,
}

#[service(prepath = "almanet.test.dictionary")]
impl Dictionary {
    /// All words that begin so. The stream borrows them.
    #[procedure]
    async fn beginning(&self, with: String) -> impl Stream<Item = String> {
        stream::iter(&self.words).filter_map(move |word| {
            let found = word.starts_with(&with).then(|| word.clone());
            async move { found }
        })
    }
}

#[tokio::test]
async fn a_method_lends_its_state_to_the_stream() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let words = ["tea", "cake", "toast"].map(str::to_owned).to_vec();
    let _service = Dictionary { words }.into_service().start(&serving).await.unwrap();
    let words = DictionaryClient::new(&calling).beginning("t".into());
    assert_eq!(all(words.await.unwrap()).await.0, ["tea", "toast"]);
}

#[service(prepath = "almanet.test.feed")]
pub trait Feed {
    /// What has happened since.
    #[procedure]
    async fn since(&self, number: u64) -> Result<impl Stream<Item = String>, TooMuch>;

    /// What services send that have nothing else.
    #[procedure]
    async fn weather(&self) -> impl Stream<Item = String> {
        stream::iter(["rain".to_owned()])
    }
}

struct News(Vec<String>);

impl Feed for News {
    async fn since(&self, number: u64) -> Result<impl Stream<Item = String>, TooMuch> {
        let start = usize::try_from(number).unwrap();
        match self.0.get(start..) {
            Some(rest) => Ok(stream::iter(rest).map(Clone::clone)),
            None => Err(TooMuch { number }),
        }
    }
}

#[tokio::test]
async fn a_contract_has_streams_too() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let news = News(vec!["one".into(), "two".into()]);
    let _service = news.into_service().start(&serving).await.unwrap();
    let client = FeedClient::new(&calling);
    assert_eq!(all(client.since(1).await.unwrap()).await.0, ["two"]);
    let (_, error) = all(client.since(3).await.unwrap()).await;
    assert!(
        matches!(error, Some(CallError::Remote(TooMuch { number: 3 }))),
        "{error:?}"
    );
    assert_eq!(all(client.weather().await.unwrap()).await.0, ["rain"]);
}

#[procedure(uri = "almanet.test.alone")]
async fn alone(to: u8) -> impl Stream<Item = u8> {
    stream::iter(0..to)
}

#[tokio::test]
async fn a_function_alone_streams() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let service = almanet::Service::new().procedure(alone::procedure());
    assert!(
        service
            .procedures()
            .iter()
            .all(|procedure| procedure.options().streaming)
    );
    let _service = service.start(&serving).await.unwrap();
    let items = soon(alone::stream(&calling, 4).into_future()).await.unwrap();
    assert_eq!(all(items).await.0, [0, 1, 2, 3]);
}
