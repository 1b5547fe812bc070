//! How a stream ends: with its last item, with an error, or because it is not what was expected.

use std::{convert::Infallible, time::Duration};

use almanet::{CallError, Codec, Context, Procedure, RpcError};
use almanet_tests::{TestBroker, echo, unique};
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::json;

use super::{all, count, soon, start};
use crate::raw;

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum TailError {
    #[error("{path} is gone")]
    Gone { path: String },
}

/// Sends so many numbers, then what `end` makes.
fn failing(uri: &str, numbers: u64, end: fn() -> Result<u64, TailError>) -> Procedure {
    Procedure::streaming(uri, move |_: Context, ()| async move {
        Ok(stream::iter((0..numbers).map(Ok)).chain(stream::once(async move { end() })))
    })
}

#[tokio::test]
async fn an_empty_stream_ends_at_once() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.count");
    let (procedure, sees) = count(&uri);
    let _service = start(&serving, procedure).await;
    let (items, error) = all(calling.call::<u64>(&uri, &Some(0)).stream().await.unwrap()).await;
    assert!(items.is_empty() && error.is_none(), "{error:?}");
    assert_eq!(sees.borrow().dropped, 1);
}

#[tokio::test]
async fn an_error_comes_behind_the_items_before_it_in_both_codecs() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    for codec in [Codec::MessagePack, Codec::Json] {
        let calling = broker.session_with(|builder| builder.codec(codec)).await;
        let uri = unique("test.failing");
        let gone = || Err(TailError::Gone { path: "log".into() });
        let _service = start(&serving, failing(&uri, 100, gone)).await;
        let call = calling.call::<u64>(&uri, &()).expecting::<TailError>().stream();
        let (items, error) = all(call.await.unwrap()).await;
        assert_eq!(items, (0..100).collect::<Vec<_>>(), "{codec:?}");
        let Some(CallError::Remote(error)) = error else {
            panic!("{error:?}")
        };
        assert_eq!(error, TailError::Gone { path: "log".into() });
    }
}

#[tokio::test]
async fn a_panic_comes_behind_the_items_before_it_and_the_service_goes_on() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.failing");
    let _service = start(&serving, failing(&uri, 3, || panic!("out of paper"))).await;
    for _ in 0..2 {
        let (items, error) = all(calling.call::<u64>(&uri, &()).stream().await.unwrap()).await;
        assert_eq!(items, [0, 1, 2]);
        assert!(matches!(error, Some(CallError::Internal { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn a_procedure_can_fail_before_its_first_item() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.failing");
    let procedure = Procedure::streaming(&uri, |_: Context, path: String| async move {
        match path.as_str() {
            "log" => Ok(stream::iter([Ok(1_u64)])),
            _ => Err(TailError::Gone { path }),
        }
    });
    let _service = start(&serving, procedure).await;
    let call = |path: &str| calling.call::<u64>(&uri, path).expecting::<TailError>().stream();
    assert_eq!(all(call("log").await.unwrap()).await.0, [1]);
    let (items, error) = all(call("other").await.unwrap()).await;
    assert!(items.is_empty());
    assert!(matches!(error, Some(CallError::Remote(TailError::Gone { path })) if path == "other"));
    let (_, error) = all(calling.call::<u64>(&uri, &7).stream().await.unwrap()).await;
    assert!(
        matches!(error, Some(CallError::InvalidPayload { .. })),
        "{error:?}"
    );
}

/// Two texts, the second of that many bytes.
fn texts(uri: &str) -> Procedure {
    Procedure::streaming(uri, |_: Context, size: usize| async move {
        let texts = ["small".to_owned(), "x".repeat(size)];
        Ok(stream::iter(texts.map(Ok::<_, Infallible>)))
    })
}

#[tokio::test]
async fn an_item_that_no_broker_takes_is_an_error() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.texts");
    let _service = start(&serving, texts(&uri)).await;
    let call = |size: usize| calling.call::<String>(&uri, &size).stream();
    let (items, error) = all(call(2 * 1024 * 1024).await.unwrap()).await;
    assert_eq!(items, ["small"], "it was sent before");
    let Some(CallError::InvalidReturn { reason, .. }) = &error else {
        panic!("{error:?}")
    };
    assert!(reason.contains("limit") || reason.contains("MESSAGE"), "{reason}");
    assert_eq!(
        all(call(1000).await.unwrap()).await.0.len(),
        2,
        "the connection lives"
    );
}

#[tokio::test]
async fn an_item_of_another_type_ends_the_stream() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.texts");
    let _service = start(&serving, texts(&uri)).await;
    let (items, error) = all(calling.call::<u64>(&uri, &3).stream().await.unwrap()).await;
    assert!(items.is_empty());
    assert!(matches!(error, Some(CallError::Decode { .. })), "{error:?}");
}

#[tokio::test]
async fn a_stream_is_not_a_value_and_a_value_is_no_stream() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let (uri, plain) = (unique("test.count"), unique("test.echo"));
    let (procedure, sees) = count(&uri);
    let _service = start(&serving, procedure).await;
    let _echo = start(&serving, echo(&plain)).await;

    let error = calling.call::<u64>(&uri, &Some(3)).await.unwrap_err();
    assert!(matches!(error, CallError::StreamOnly { .. }), "{error:?}");
    assert_eq!(sees.borrow().made, 0, "it did not run");
    let (items, error) = all(calling.call::<String>(&plain, "a").stream().await.unwrap()).await;
    assert!(items.is_empty());
    assert!(matches!(error, Some(CallError::NotAStream { .. })), "{error:?}");
    assert_eq!(calling.call::<String>(&plain, "a").await.unwrap(), "a");
}

#[tokio::test]
async fn a_caller_of_the_python_package_is_told_that_it_is_a_stream() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let uri = unique("test.count");
    let (procedure, _) = count(&uri);
    let _service = start(&serving, procedure).await;
    let reply = soon(raw::answer_to(&broker, &format!("_rpc_.{uri}"), "3")).await;
    assert_eq!(reply["is_exception"], json!(true));
    let exception: serde_json::Value = serde_json::from_str(reply["payload"].as_str().unwrap()).unwrap();
    assert_eq!(exception["name"], json!("rpc_stream_only"));
}

#[tokio::test]
async fn the_limit_of_the_procedure_is_for_the_whole_stream() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.slow");
    let (procedure, mut sees) = super::quiet(&uri);
    let _service = start(&serving, procedure.timeout(Duration::from_millis(50))).await;
    let (items, error) = all(calling.call::<u64>(&uri, &2).stream().await.unwrap()).await;
    assert_eq!(items, [0, 1]);
    assert!(matches!(error, Some(CallError::Timeout { .. })), "{error:?}");
    soon(sees.wait_for(|seen| seen.dropped == 2)).await.unwrap();
}

/// The type is a stream of futures-util's, to be used with all that there is for those.
#[tokio::test]
async fn it_is_a_stream_as_any_other() {
    fn is_stream<S: Stream + Send + Unpin>(stream: S) -> S {
        stream
    }
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.count");
    let (procedure, _) = count(&uri);
    let _service = start(&serving, procedure).await;
    let items = calling.call::<u64>(&uri, &Some(10)).stream().await.unwrap();
    let even: Vec<u64> = is_stream(items)
        .filter_map(async |item| item.ok().filter(|number| number % 2 == 0))
        .collect()
        .await;
    assert_eq!(even, [0, 2, 4, 6, 8]);
}
