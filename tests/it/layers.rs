//! Layers see the calls, in and out, and what they fail with reaches the caller as what it is.

use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use almanet::{
    CallError, Caller, Codec, Context, Handler, OutgoingCall, Procedure, Request, RpcError, Service, Session,
    layer::{self, ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, LoadShedLayer, Next, TimeoutLayer},
    testing::MemoryBroker,
};
use almanet_tests::{TestBroker, echo, unique};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tower::{ServiceBuilder, util::MapErrLayer};

#[derive(Debug, thiserror::Error, RpcError, PartialEq)]
enum AccessError {
    #[error("{who} may not do this")]
    Denied { who: String },
}

type Log = Arc<Mutex<Vec<&'static str>>>;

/// A layer that notes when a call comes by.
macro_rules! noting {
    ($log:expr, $name:literal, $request:ty, $next:ty) => {{
        let log: Log = Arc::clone(&$log);
        layer::from_fn(move |request: $request, next: $next| {
            log.lock().unwrap().push($name);
            next.run(request)
        })
    }};
}

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

/// A procedure that says when a call has begun, and never ends it.
fn held(uri: &str, began: UnboundedSender<()>) -> Procedure {
    Procedure::new(uri, move |_: Context, (): ()| {
        let _ = began.send(());
        pending::<Result<(), Infallible>>()
    })
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

/// What is written of the types is what users write: a layer is generic over what it is around.
#[test]
fn a_layer_from_a_function_can_be_named() {
    fn is_layer<L: tower::Layer<Handler>>(_: &L) {}
    let passing = layer::from_fn(|request: Request, next: Next<Handler>| next.run(request));
    is_layer(&passing);
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

#[tokio::test(start_paused = true)]
async fn a_buffer_lets_clones_share_a_rate_limit_on_either_side() {
    let second = Duration::from_secs(1);
    for serving_is_limited in [true, false] {
        let broker = MemoryBroker::new();
        let serving = Session::builder().transport(broker.transport());
        let serving = serving.connect().await.unwrap();
        let mut calling = Session::builder().transport(broker.transport());
        let mut service = Service::new().procedure(echo("test.echo"));
        if serving_is_limited {
            service = service.layer(ServiceBuilder::new().buffer(64).rate_limit(2, second));
        } else {
            calling = calling.layer(ServiceBuilder::new().buffer(64).rate_limit(2, second));
        }
        let _service = service.start(&serving).await.unwrap();
        let calling = calling.connect().await.unwrap();

        let begun = tokio::time::Instant::now();
        let calls = (0..6).map(|_| calling.call::<String>("test.echo", "hi").into_future());
        for answer in futures_util::future::join_all(calls).await {
            assert_eq!(answer.unwrap(), "hi");
        }
        // Two at once, two after a second, and two after another.
        let passed = begun.elapsed();
        assert!((2 * second..3 * second).contains(&passed), "{passed:?}");
    }
}
