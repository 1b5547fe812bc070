//! What the attributes generate works against a broker: modules, `impl` blocks and functions alone.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use almanet::{CallError, Codec, Context, Service, procedure, service};
use almanet_tests::TestBroker;

#[derive(Debug, PartialEq, thiserror::Error, almanet::RpcError)]
#[error("there is no number below {least}")]
pub struct OutOfRange {
    least: i64,
}

/// Arithmetic.
#[service(prepath = "almanet.test.arithmetic")]
mod arithmetic {
    use super::{Context, OutOfRange};

    type Result<T> = std::result::Result<T, OutOfRange>;

    /// Adds.
    #[procedure]
    pub async fn add(left: i64, right: i64) -> i64 {
        left + right
    }

    #[procedure(
        name = "previous",
        timeout = "5s",
        idempotent,
        hidden,
        tags("math", "example"),
        channel = "workers",
        concurrency = 8,
        queue = 16,
        queue_time = "500ms",
        remember = "1h"
    )]
    pub async fn before(context: Context, number: i64) -> Result<i64> {
        assert!(context.procedure().as_str().ends_with(".previous"));
        if number == 0 {
            Err(OutOfRange { least: 0 })
        } else {
            Ok(number - 1)
        }
    }

    #[procedure(uri = "almanet.test.zero")]
    pub async fn zero() -> i64 {
        0
    }

    #[procedure]
    pub async fn forget(_numbers: Vec<i64>) {}
}

#[tokio::test]
async fn a_module_is_a_service_with_typed_callers() {
    let broker = TestBroker::start().await;
    for codec in [Codec::MessagePack, Codec::Json] {
        let session = broker.session_with(|builder| builder.codec(codec)).await;
        let service = arithmetic::service().start(&session).await.unwrap();

        assert_eq!(arithmetic::add::URI, "almanet.test.arithmetic.add");
        assert_eq!(arithmetic::add::call(&session, 2, 3).await.unwrap(), 5);
        assert_eq!(arithmetic::before::call(&session, 3).await.unwrap(), 2);
        assert_eq!(arithmetic::zero::call(&session).await.unwrap(), 0);
        arithmetic::forget::call(&session, vec![1]).await.unwrap();

        let client = arithmetic::Client::new(&session);
        assert_eq!(client.add(20, 3).await.unwrap(), 23);
        match client.before(0).await {
            Err(CallError::Remote(error)) => assert_eq!(error, OutOfRange { least: 0 }),
            other => panic!("{other:?}"),
        }

        // Several arguments travel as a map by name.
        let sum: i64 = session
            .call(
                "almanet.test.arithmetic.add",
                &serde_json::json!({ "right": 1, "left": 2 }),
            )
            .await
            .unwrap();
        assert_eq!(sum, 3);
        service.stop().await;
    }
}

#[test]
fn options_and_doc_comments_are_kept() {
    let service = arithmetic::service();
    let [add, previous, ..] = service.procedures() else {
        panic!("procedures are missing: {service:?}")
    };
    assert_eq!(add.uri().unwrap().as_str(), "almanet.test.arithmetic.add");
    assert_eq!(add.options().description, "Adds.");
    assert_eq!(
        (add.options().channel.as_str(), add.options().timeout),
        ("almanet", None)
    );
    assert_eq!((add.options().idempotent, add.options().hidden), (false, false));
    assert_eq!((add.options().queue, add.options().queue_time), (None, None));

    let options = previous.options();
    assert_eq!(
        previous.uri().unwrap().as_str(),
        "almanet.test.arithmetic.previous"
    );
    assert_eq!(options.timeout, Some(Duration::from_secs(5)));
    assert_eq!((options.idempotent, options.hidden), (true, true));
    assert_eq!((options.channel.as_str(), options.concurrency), ("workers", 8));
    assert_eq!(options.queue, Some(16));
    assert_eq!(options.queue_time, Some(Duration::from_millis(500)));
    assert_eq!(options.remember, Duration::from_secs(3600));
    assert_eq!(options.tags, ["math", "example"]);
}

#[derive(Default)]
struct Counter {
    value: AtomicI64,
}

#[service(prepath = "almanet.test.counter")]
impl Counter {
    #[procedure]
    async fn add(&self, number: i64) -> i64 {
        self.value.fetch_add(number, Ordering::Relaxed) + number
    }

    #[procedure]
    async fn value(&self, context: Context) -> (String, i64) {
        (
            context.caller_id().to_string(),
            self.value.load(Ordering::Relaxed),
        )
    }
}

#[tokio::test]
async fn an_impl_block_is_a_service_whose_state_is_shared() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let service = Counter::default().into_service().start(&session).await.unwrap();

    let client = CounterClient::new(&session);
    assert_eq!(client.add(2).await.unwrap(), 2);
    assert_eq!(client.add(3).await.unwrap(), 5);
    assert_eq!(client.value().await.unwrap(), (session.id().to_string(), 5));
    service.stop().await;
}

#[procedure(uri = "almanet.test.alone")]
async fn alone(r#type: String, mut count: usize) -> String {
    count += 1;
    r#type.repeat(count)
}

#[tokio::test]
async fn a_function_alone_is_a_procedure_and_still_a_function() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let service = Service::new()
        .procedure(alone::procedure())
        .start(&session)
        .await
        .unwrap();

    assert_eq!(alone::call(&session, "ab".into(), 1).await.unwrap(), "abab");
    assert_eq!(alone("c".into(), 2).await, "ccc");
    service.stop().await;
}

#[service(
    prepath = "almanet.test.defaults",
    channel = "workers",
    timeout = "50ms",
    concurrency = 8,
    queue = 16,
    queue_time = "500ms",
    remember = "1h",
    idempotent,
    tags("all"),
    hidden
)]
mod defaults {
    #[procedure]
    pub async fn silent() {}

    #[procedure(
        timeout = "5s",
        concurrency = 4,
        queue = 0,
        queue_time = "1s",
        remember = "1m",
        tags("own"),
        idempotent = false,
        hidden = false,
        broadcast
    )]
    pub async fn own() {}
}

#[tokio::test]
async fn what_a_service_says_holds_for_procedures_that_do_not_say_otherwise() {
    let service = defaults::service();
    let [silent, own] = service.procedures() else {
        panic!("procedures are missing: {service:?}")
    };
    let options = silent.options();
    assert_eq!(options.channel, "workers");
    assert_eq!(options.timeout, Some(Duration::from_millis(50)));
    assert_eq!((options.concurrency, options.queue), (8, Some(16)));
    assert_eq!(options.queue_time, Some(Duration::from_millis(500)));
    assert_eq!(options.remember, Duration::from_secs(3600));
    assert_eq!((options.idempotent, options.hidden), (true, true));
    assert_eq!(
        (options.broadcast, options.tags.as_slice()),
        (false, &["all".to_owned()][..])
    );

    let options = own.options();
    assert_eq!(options.timeout, Some(Duration::from_secs(5)));
    assert_eq!((options.concurrency, options.queue), (4, Some(0)));
    assert_eq!(options.queue_time, Some(Duration::from_secs(1)));
    assert_eq!(options.remember, Duration::from_secs(60));
    assert_eq!((options.idempotent, options.hidden), (false, false));
    assert_eq!(
        (options.broadcast, options.tags.as_slice()),
        (true, &["own".to_owned()][..])
    );

    // The generated caller waits no longer either. Nobody serves it here.
    let broker = TestBroker::embedded().await;
    let session = broker.session().await;
    let unanswered = defaults::silent::call(&session).await;
    assert!(
        matches!(&unanswered, Err(CallError::Timeout { waited, .. }) if *waited < Duration::from_secs(30)),
        "{unanswered:?}"
    );
}
