//! Layers around the calls that a session makes.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use almanet::{
    CallError, Caller, Context, OutgoingCall, Procedure, Service, Session,
    layer::{self, ConcurrencyLimitLayer, LoadShedLayer, Next, TimeoutLayer},
};
use almanet_tests::{TestBroker, echo, unique};
use tokio::sync::mpsc::unbounded_channel;
use tower::util::MapErrLayer;

use super::{AccessError, Log, held};

#[tokio::test]
async fn the_layers_of_a_session_see_its_calls_on_their_way_out() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let uri = unique("test.who");
    let who = Procedure::new(&uri, |context: Context, text: String| async move {
        let who = context.headers().get("who").unwrap_or("nobody").to_owned();
        match who.as_str() {
            "Bob" => Err(AccessError::Denied { who }),
            _ => Ok(format!(
                "{who}: {text}, {:?}",
                context.remaining() <= Some(Duration::from_secs(5))
            )),
        }
    });
    let _service = Service::new().procedure(who).start(&serving).await.unwrap();

    let log = Log::default();
    let named = layer::from_fn(|mut call: OutgoingCall, next: Next<Caller>| {
        if call.headers.is_empty() {
            call.headers.insert("who", "Aidar");
        }
        call.timeout = Duration::from_secs(5);
        next.run(call)
    });
    let session = broker
        .session_with(|builder| {
            builder
                .layer(named)
                .layer(noting!(log, "inner", OutgoingCall, Next<Caller>))
                .layer(noting!(log, "outer", OutgoingCall, Next<Caller>))
        })
        .await;

    assert_eq!(
        session.call::<String>(&uri, "hi").await.unwrap(),
        "Aidar: hi, true"
    );
    assert_eq!(*log.lock().unwrap(), ["outer", "inner"]);
    let bob = session.call::<String>(&uri, "hi").header("who", "Bob");
    match bob.expecting::<AccessError>().await {
        Err(CallError::Remote(error)) => assert_eq!(error, AccessError::Denied { who: "Bob".into() }),
        other => panic!("{other:?}"),
    }
    let error = session.call::<String>(&uri, &42).await.unwrap_err();
    assert!(matches!(error, CallError::InvalidPayload { .. }), "{error:?}");
}

#[tokio::test]
async fn what_a_layer_of_a_session_fails_with_is_the_callers_error() {
    let broker = TestBroker::start().await;
    let uri = unique("test.nobody");

    let refusing = layer::from_fn(|call: OutgoingCall, _: Next<Caller>| async move {
        Err(CallError::Internal {
            procedure: call.procedure,
        })
    });
    let session = broker.session_with(|builder| builder.layer(refusing)).await;
    let error = session.call::<()>(&uri, &()).await.unwrap_err();
    assert!(matches!(error, CallError::Internal { .. }), "{error:?}");

    // The layer hears of the timeout of the call that it is around only if its own comes later.
    let short = layer::from_fn(|mut call: OutgoingCall, next: Next<Caller>| {
        call.timeout = Duration::from_millis(20);
        next.run(call)
    });
    let unknown = MapErrLayer::new(|_: CallError| std::io::Error::other("no more credit"));
    let session = broker
        .session_with(|builder| builder.layer(short).layer(unknown))
        .await;
    let error = session.call::<()>(&uri, &()).await.unwrap_err();
    let CallError::Layer { procedure, source } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(procedure.as_str(), uri);
    assert_eq!(source.to_string(), "no more credit");

    let session = broker
        .session_with(|builder| builder.layer(TimeoutLayer::new(Duration::from_millis(20))))
        .await;
    let error = session.call::<()>(&uri, &()).await.unwrap_err();
    let CallError::Timeout { waited, .. } = error else {
        panic!("not a timeout: {error:?}")
    };
    assert!(waited < Duration::from_secs(30), "{waited:?}");
}

#[tokio::test]
async fn a_session_that_makes_too_many_calls_at_once_refuses_the_next() {
    let broker = TestBroker::start().await;
    let uri = unique("test.held");
    let (began, mut begins) = unbounded_channel();
    let serving = broker.session().await;
    let service = Service::new().procedure(held(&uri, began)).grace(Duration::ZERO);
    let _service = service.start(&serving).await.unwrap();
    let session = broker
        .session_with(|builder| {
            builder
                .layer(ConcurrencyLimitLayer::new(1))
                .layer(LoadShedLayer::new())
        })
        .await;

    let held = tokio::spawn(session.call::<()>(&uri, &()).into_future());
    begins.recv().await.unwrap();
    let error = session.call::<()>(&uri, &()).await.unwrap_err();
    assert!(matches!(error, CallError::Overloaded { .. }), "{error:?}");

    // A call that is given up makes room for another.
    held.abort();
    assert!(held.await.unwrap_err().is_cancelled());
    let next = tokio::spawn(session.call::<()>(&uri, &()).into_future());
    begins.recv().await.unwrap();
    next.abort();
}

#[tokio::test]
async fn a_call_ends_in_time_whatever_its_layers_do() {
    let broker = TestBroker::start().await;
    let stuck = layer::from_fn(|_: OutgoingCall, _: Next<Caller>| pending());
    let session = broker.session_with(|builder| builder.layer(stuck)).await;
    let error = session
        .call::<()>(unique("test.nobody"), &())
        .timeout(Duration::from_millis(20))
        .await
        .unwrap_err();
    let CallError::Timeout { waited, .. } = error else {
        panic!("not a timeout: {error:?}")
    };
    assert!(waited < Duration::from_secs(30), "{waited:?}");
}

#[tokio::test]
async fn what_cannot_be_called_is_refused_before_the_layers() {
    let broker = TestBroker::start().await;
    let log = Log::default();
    let session = broker
        .session_with(|builder| builder.layer(noting!(log, "called", OutgoingCall, Next<Caller>)))
        .await;
    let error = session.call::<()>("not a name", &()).await.unwrap_err();
    assert!(matches!(error, CallError::InvalidUri(_)), "{error:?}");
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_layer_around_one_clone_of_a_session_is_outside_of_the_others_and_concerns_no_other_clone() {
    let broker = TestBroker::start().await;
    let log = Log::default();
    let session = broker
        .session_with(|builder| builder.layer(noting!(log, "session", OutgoingCall, Next<Caller>)))
        .await;
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&session)
        .await
        .unwrap();
    let calls = |session: Session| {
        let (uri, log) = (uri.clone(), Arc::clone(&log));
        async move {
            log.lock().unwrap().clear();
            assert_eq!(session.call::<String>(&uri, "hi").await.unwrap(), "hi");
            log.lock().unwrap().clone()
        }
    };
    let layered = session.layer(noting!(log, "first", OutgoingCall, Next<Caller>));
    let twice = layered.layer(noting!(log, "second", OutgoingCall, Next<Caller>));
    assert_eq!(calls(twice.clone()).await, ["second", "first", "session"]);
    assert_eq!(calls(layered.clone()).await, ["first", "session"]);
    assert_eq!(calls(session.clone()).await, ["session"]);
    assert_eq!(layered.id(), session.id());

    // What the service calls goes through the layers of the session that it was started on.
    let outer = unique("test.outer");
    let inner = uri.clone();
    let relay = Procedure::new(&outer, move |context: Context, (): ()| {
        let inner = inner.clone();
        async move {
            let answer = context.session().call::<String>(&inner, "hi").await;
            Ok::<_, Infallible>(answer.unwrap())
        }
    });
    let _relay = Service::new().procedure(relay).start(&layered).await.unwrap();
    log.lock().unwrap().clear();
    let plain = broker.session().await;
    assert_eq!(plain.call::<String>(&outer, &()).await.unwrap(), "hi");
    assert_eq!(*log.lock().unwrap(), ["first", "session"]);
}

#[tokio::test]
async fn a_multicall_passes_through_the_layers_once() {
    let broker = TestBroker::start().await;
    let log = Log::default();
    let session = broker.session().await;
    let layered = session.layer(noting!(log, "layer", OutgoingCall, Next<Caller>));
    let uri = unique("test.echo");
    let mut services = Vec::new();
    for _ in 0..2 {
        let service = Service::new().procedure(echo(&uri).broadcast());
        services.push(service.start(&session).await.unwrap());
    }
    let answers = layered.multicall::<String>(&uri, "hi").count(2).collect();
    assert_eq!(answers.await.unwrap().len(), 2);
    assert_eq!(*log.lock().unwrap(), ["layer"]);
}
