//! Layers around services and procedures.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use almanet::{
    CallError, Codec, Context, Procedure, Request, Service,
    layer::{self, ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, LoadShedLayer, Next, TimeoutLayer},
};
use almanet_tests::{TestBroker, echo, unique};
use tokio::sync::mpsc::unbounded_channel;
use tower::util::MapErrLayer;

use super::{AccessError, Log, held};

#[tokio::test]
async fn the_layers_of_a_service_are_around_those_of_each_procedure() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (first, second) = (unique("test.first"), unique("test.second"));
    let log = Log::default();
    let _service = Service::new()
        .procedure(echo(&first).layer(noting!(log, "procedure", Request, Next)))
        .procedure(echo(&second))
        .layer(noting!(log, "service", Request, Next))
        .layer(noting!(log, "outermost", Request, Next))
        .start(&session)
        .await
        .unwrap();

    assert_eq!(session.call::<String>(&first, "hi").await.unwrap(), "hi");
    assert_eq!(*log.lock().unwrap(), ["outermost", "service", "procedure"]);
    log.lock().unwrap().clear();
    assert_eq!(session.call::<String>(&second, "hi").await.unwrap(), "hi");
    assert_eq!(*log.lock().unwrap(), ["outermost", "service"]);
}

#[tokio::test]
async fn a_layer_of_a_service_answers_with_a_typed_error_in_the_callers_codec() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let uri = unique("test.echo");
    let guard = layer::from_fn(|request: Request, next: Next| async move {
        match request.context.headers().get("who") {
            Some("Bob") | None => Err(request.raise(&AccessError::Denied { who: "Bob".into() })),
            Some(_) => next.run(request).await,
        }
    });
    let service = Service::new().procedure(echo(&uri)).layer(guard);
    let _service = service.start(&serving).await.unwrap();

    for codec in [Codec::Json, Codec::MessagePack] {
        let session = broker.session_with(|builder| builder.codec(codec)).await;
        let aidar = session.call::<String>(&uri, "hi").header("who", "Aidar");
        assert_eq!(aidar.await.unwrap(), "hi");
        let bob = session.call::<String>(&uri, "hi").header("who", "Bob");
        match bob.expecting::<AccessError>().await {
            Err(CallError::Remote(error)) => assert_eq!(error, AccessError::Denied { who: "Bob".into() }),
            other => panic!("{codec:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_timeout_around_a_procedure_is_told_at_once() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.stuck");
    let stuck = Procedure::new(&uri, |_: Context, (): ()| pending::<Result<(), Infallible>>());
    let service = Service::new()
        .procedure(stuck)
        .layer(TimeoutLayer::new(Duration::from_millis(20)));
    let _service = service.start(&session).await.unwrap();

    for codec in [Codec::Json, Codec::MessagePack] {
        let session = broker.session_with(|builder| builder.codec(codec)).await;
        let error = session.call::<()>(&uri, &()).await.unwrap_err();
        let CallError::Timeout { waited, .. } = error else {
            panic!("not a timeout: {error:?}")
        };
        assert!(waited < Duration::from_secs(30), "{waited:?}");
    }
}

#[tokio::test]
async fn a_call_above_a_limit_that_sheds_is_refused_as_overloaded() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.held");
    let (began, mut begins) = unbounded_channel();
    let service = Service::new()
        .procedure(held(&uri, began))
        .layer(ConcurrencyLimitLayer::new(2))
        // What is between them tells the one whether the other has room.
        .layer(layer::from_fn(|request: Request, next: Next| next.run(request)))
        .layer(LoadShedLayer::new())
        .grace(Duration::ZERO);
    let _service = service.start(&session).await.unwrap();

    let held: Vec<_> = (0..2)
        .map(|_| tokio::spawn(session.call::<()>(&uri, &()).into_future()))
        .collect();
    for _ in 0..2 {
        begins.recv().await.unwrap();
    }
    let error = session.call::<()>(&uri, &()).await.unwrap_err();
    let CallError::Overloaded { procedure, .. } = &error else {
        panic!("not overloaded: {error:?}")
    };
    assert_eq!(procedure.as_str(), uri);
    assert!(begins.try_recv().is_err(), "it ran all the same");
    held.iter().for_each(|call| call.abort());
}

#[tokio::test]
async fn a_global_limit_is_shared_by_the_procedures_that_it_is_around() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (first, second) = (unique("test.first"), unique("test.second"));
    let (began, mut begins) = unbounded_channel();
    let service = Service::new()
        .procedure(held(&first, began.clone()))
        .procedure(held(&second, began))
        .layer(GlobalConcurrencyLimitLayer::new(1))
        .layer(LoadShedLayer::new())
        .grace(Duration::ZERO);
    let _service = service.start(&session).await.unwrap();

    let held = tokio::spawn(session.call::<()>(&first, &()).into_future());
    begins.recv().await.unwrap();
    let error = session.call::<()>(&second, &()).await.unwrap_err();
    assert!(matches!(error, CallError::Overloaded { .. }), "{error:?}");
    held.abort();
}

#[tokio::test]
async fn a_layer_that_fails_with_anything_else_is_an_internal_error() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.echo");
    let fails = layer::from_fn(|_: Request, _: Next| async {
        Err(almanet::RemoteError::new(
            "secret",
            almanet::Payload::encode(Codec::Json, &1).unwrap(),
        ))
    });
    let unknown = MapErrLayer::new(|_: almanet::RemoteError| std::io::Error::other("a secret"));
    let procedure = echo(&uri).layer(fails).layer(unknown);
    let _service = Service::new().procedure(procedure).start(&session).await.unwrap();

    let error = session.call::<String>(&uri, "hi").await.unwrap_err();
    assert!(matches!(error, CallError::Internal { .. }), "{error:?}");
}

#[tokio::test]
async fn an_error_of_a_layer_reaches_callers_of_the_other_codec() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let calling = broker
        .session_with(|builder| builder.codec(Codec::MessagePack))
        .await;
    let uri = unique("test.echo");
    let fails = layer::from_fn(|_: Request, _: Next| async {
        Err(almanet::RemoteError::new(
            "odd",
            almanet::Payload::encode(Codec::Json, &[1, 2]).unwrap(),
        ))
    });
    let service = Service::new().procedure(echo(&uri).layer(fails));
    let _service = service.start(&serving).await.unwrap();

    match calling.call::<String>(&uri, "hi").await {
        Err(CallError::Remote(error)) => {
            assert_eq!(error.name(), "odd");
            assert_eq!(error.payload().codec(), Codec::MessagePack);
            assert_eq!(error.payload().decode::<Vec<i32>>().unwrap(), [1, 2]);
        }
        other => panic!("{other:?}"),
    }
}
