//! A service that stops lets its streams end, and then ends them.

use std::time::Duration;

use almanet::{CallError, Service};
use almanet_tests::{TestBroker, unique};

use super::{all, count, quiet, soon};

#[tokio::test]
async fn a_stream_that_ends_within_the_grace_is_whole() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.count");
    let (procedure, mut sees) = count(&uri);
    let service = Service::new().procedure(procedure).start(&serving).await.unwrap();
    let call = calling.call::<u64>(&uri, &Some(200)).stream().credit(4);
    let items = call.await.unwrap();
    soon(sees.wait_for(|seen| seen.made == 4)).await.unwrap();
    let (stopped, (items, error)) = tokio::join!(soon(service.stop()), all(items));
    assert_eq!(((), 200), (stopped, items.len()));
    assert!(error.is_none(), "{error:?}");
}

#[tokio::test]
async fn a_stream_that_does_not_is_cut_off_with_an_error_that_says_so() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.quiet");
    let (procedure, mut sees) = quiet(&uri);
    let service = Service::new()
        .procedure(procedure)
        .grace(Duration::from_millis(20))
        .start(&serving)
        .await
        .unwrap();
    let mut items = calling.call::<u64>(&uri, &3).stream().await.unwrap();
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    let (stopped, (items, error)) = tokio::join!(soon(service.stop()), all(items));
    assert_eq!(((), vec![1, 2]), (stopped, items));
    let Some(CallError::Interrupted { reason, .. }) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(reason, "its service was stopped");
    soon(sees.wait_for(|seen| seen.dropped == 2)).await.unwrap();
}

#[tokio::test]
async fn a_stream_of_which_nothing_was_sent_goes_to_another_instance() {
    let broker = TestBroker::start().await;
    let (first, second, calling) = (
        broker.session().await,
        broker.session().await,
        broker.session().await,
    );
    let uri = unique("test.quiet");
    let (procedure, mut sees) = quiet(&uri);
    let (held, mut holds) = tokio::sync::watch::channel(false);
    // It says that it runs, and has nothing to send.
    let begun = almanet::Procedure::streaming(&uri, move |_: almanet::Context, _: u64| {
        held.send_replace(true);
        async {
            Ok(futures_util::stream::pending::<
                Result<u64, std::convert::Infallible>,
            >())
        }
    });
    let service = Service::new()
        .procedure(begun)
        .grace(Duration::from_millis(20))
        .start(&first)
        .await
        .unwrap();
    let mut items = calling.call::<u64>(&uri, &3).stream().await.unwrap();
    soon(holds.wait_for(|held| *held)).await.unwrap();
    let stopping = tokio::spawn(service.stop());
    let _second = Service::new().procedure(procedure).start(&second).await.unwrap();
    for expected in 0..3 {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), expected);
    }
    drop(items);
    stopping.await.unwrap();
    soon(sees.wait_for(|seen| seen.dropped == 2)).await.unwrap();
}

#[tokio::test]
async fn leaving_ends_what_the_session_reads_and_its_producer() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.quiet");
    let (procedure, mut sees) = quiet(&uri);
    let _service = Service::new().procedure(procedure).start(&serving).await.unwrap();
    let mut items = calling.call::<u64>(&uri, &1).stream().await.unwrap();
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    calling.leave().await.unwrap();
    let (items, error) = all(items).await;
    assert!(items.is_empty());
    assert!(matches!(error, Some(CallError::SessionLeft)), "{error:?}");
    soon(sees.wait_for(|seen| seen.dropped == 2)).await.unwrap();
    let error = calling.call::<u64>(&uri, &1).stream().await.unwrap_err();
    assert!(matches!(error, CallError::SessionLeft), "{error:?}");
}
