//! What callers do to streams: drop them, read them inside of handlers, and put layers around them.

use std::{convert::Infallible, time::Duration};

use almanet::{
    CallError, Caller, Context, OutgoingCall, Procedure, Request, RpcError, Service, Session,
    layer::{self, Next},
};
use almanet_tests::{TestBroker, unique};
use futures_util::stream;

use super::{all, count, quiet, soon, start};

#[tokio::test]
async fn a_dropped_stream_drops_its_producer() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.count");
    let (procedure, mut sees) = count(&uri);
    let service = start(&serving, procedure).await;
    let mut items = calling.call::<u64>(&uri, &None::<u64>).stream().await.unwrap();
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    drop(items);
    soon(sees.wait_for(|seen| seen.dropped == 1)).await.unwrap();
    service.stop().await;
    // The message is finished, so nobody runs it again.
    let (procedure, sees) = count(&uri);
    let _again = start(&serving, procedure).await;
    assert_eq!(
        all(calling.call::<u64>(&uri, &Some(3)).stream().await.unwrap())
            .await
            .0,
        [0, 1, 2]
    );
    assert_eq!(sees.borrow().made, 3);
}

#[tokio::test]
async fn a_stream_that_is_dropped_before_anything_came_drops_its_producer_too() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.quiet");
    let (procedure, mut sees) = quiet(&uri);
    let _service = start(&serving, procedure).await;
    drop(calling.call::<u64>(&uri, &0).stream().await.unwrap());
    soon(sees.wait_for(|seen| seen.dropped == 2)).await.unwrap();
}

#[tokio::test]
async fn a_stream_is_a_clone_of_its_session() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.count");
    let (procedure, _) = count(&uri);
    let _service = start(&serving, procedure).await;
    let call = calling.call::<u64>(&uri, &Some(300)).stream().credit(4);
    let items = call.await.unwrap();
    drop(calling);
    assert_eq!(all(items).await.0.len(), 300);
}

#[tokio::test]
async fn what_a_handler_reads_ends_with_the_handler() {
    let broker = TestBroker::start().await;
    let (serving, relaying, calling) = (
        broker.session().await,
        broker.session().await,
        broker.session().await,
    );
    let (inner, outer) = (unique("test.quiet"), unique("test.relay"));
    let (procedure, mut sees) = quiet(&inner);
    let _inner = start(&serving, procedure).await;
    let relay = Procedure::new(&outer, move |context: Context, (): ()| {
        let call = context.session().call::<u64>(&inner, &1).stream();
        async move {
            let mut items = call.await.unwrap();
            let mut taken = 0;
            while let Some(Ok(_)) = items.next().await {
                taken += 1;
            }
            Ok::<u64, Infallible>(taken)
        }
    });
    let _outer = start(&relaying, relay).await;
    let call = calling
        .call::<u64>(&outer, &())
        .timeout(Duration::from_millis(300));
    assert!(matches!(call.await, Err(CallError::Timeout { .. })));
    soon(sees.wait_for(|seen| seen.dropped == 2)).await.unwrap();
}

#[derive(Debug, thiserror::Error, RpcError)]
#[error("not welcome")]
struct Unwelcome;

#[tokio::test]
async fn layers_of_the_session_and_of_the_service_are_around_streams() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let signing = layer::from_fn(|mut call: OutgoingCall, next: Next<Caller>| async move {
        call.headers.insert("signed", "by me");
        next.run(call).await
    });
    let calling: Session = broker.session_with(|builder| builder.layer(signing)).await;
    let uri = unique("test.signed");
    let signed = Procedure::streaming(&uri, |context: Context, ()| async move {
        let by = context.headers().get("signed").unwrap_or_default().to_owned();
        Ok(stream::iter([Ok::<_, Infallible>(by)]))
    });
    let refusing = layer::from_fn(|request: Request, next: Next| async move {
        match request.context.headers().get("stranger") {
            None => next.run(request).await,
            Some(_) => Err(request.raise(&Unwelcome)),
        }
    });
    let service = Service::new().procedure(signed.layer(refusing));
    let _service = service.start(&serving).await.unwrap();
    let (items, error) = all(calling.call::<String>(&uri, &()).stream().await.unwrap()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(items, ["by me"]);
    let call = calling.call::<String>(&uri, &()).header("stranger", "yes");
    let (items, error) = all(call.expecting::<Unwelcome>().stream().await.unwrap()).await;
    assert!(items.is_empty());
    assert!(matches!(error, Some(CallError::Remote(Unwelcome))), "{error:?}");
}
