//! A trace that comes in goes on, through every call that is made on its behalf, whether anybody looks or not.

use std::convert::Infallible;

use almanet::{Codec, Context, Procedure, Service, Session, telemetry::TraceContext};
use almanet_tests::{TestBroker, unique};
use tracing::subscriber::DefaultGuard;

use crate::alone;

pub(crate) const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Turns all spans off in this thread, whatever the tests in others look at.
pub(crate) fn nobody_looks() -> DefaultGuard {
    let subscriber = tracing_subscriber::fmt().with_env_filter("off").finish();
    tracing::subscriber::set_default(subscriber)
}

/// `traceparent` and `tracestate` as they came in.
type Seen = (Option<String>, Option<String>);

fn seen(context: &Context) -> Seen {
    let header = |name| context.headers().get(name).map(str::to_owned);
    (header("traceparent"), header("tracestate"))
}

/// A procedure that returns what it sees.
fn last(uri: &str) -> Procedure {
    Procedure::new(uri, |context: Context, (): ()| async move {
        Ok::<_, Infallible>(seen(&context))
    })
}

/// A procedure that returns what it sees, and what the procedure `next` sees of it.
fn first(uri: &str, next: &str) -> Procedure {
    let next = next.to_owned();
    Procedure::new(uri, move |context: Context, (): ()| {
        let next = next.clone();
        async move {
            let further: Seen = context.session().call(next, &()).await.unwrap();
            Ok::<_, Infallible>((seen(&context), further))
        }
    })
}

struct Chain {
    _service: almanet::ServiceHandle,
    first: String,
}

async fn chain(serving: &Session) -> Chain {
    let (one, two) = (unique("test.first"), unique("test.last"));
    let service = Service::new().procedure(first(&one, &two)).procedure(last(&two));
    Chain {
        _service: service.start(serving).await.unwrap(),
        first: one,
    }
}

#[tokio::test]
async fn a_trace_goes_on_through_the_calls_of_a_handler() {
    let _guard = (alone().await, nobody_looks());
    let broker = TestBroker::start().await;
    let chain = chain(&broker.session().await).await;
    for codec in [Codec::Json, Codec::MessagePack] {
        let session = broker.session_with(|builder| builder.codec(codec)).await;
        let call = session
            .call::<(Seen, Seen)>(&chain.first, &())
            .header("traceparent", PARENT)
            .header("tracestate", "vendor=1");
        let (first, last) = call.await.unwrap();
        assert_eq!(first, (Some(PARENT.to_owned()), Some("vendor=1".to_owned())));
        let sent: TraceContext = PARENT.parse().unwrap();
        let passed_on: TraceContext = last.0.unwrap().parse().unwrap();
        assert_eq!(passed_on.trace_id(), sent.trace_id());
        assert_ne!(passed_on.span_id(), sent.span_id());
        assert!(passed_on.is_sampled());
        assert_eq!(last.1.as_deref(), Some("vendor=1"));
    }
}

#[tokio::test]
async fn where_no_trace_comes_in_and_nobody_looks_none_begins() {
    let _guard = (alone().await, nobody_looks());
    let broker = TestBroker::start().await;
    let chain = chain(&broker.session().await).await;
    let session = broker.session().await;
    let call = session
        .call::<(Seen, Seen)>(&chain.first, &())
        .header("other", "1");
    assert_eq!(call.await.unwrap(), ((None, None), (None, None)));
}

#[tokio::test]
async fn what_is_no_traceparent_is_not_passed_on() {
    let _guard = (alone().await, nobody_looks());
    let broker = TestBroker::start().await;
    let chain = chain(&broker.session().await).await;
    let session = broker.session().await;
    for wrong in [
        "",
        "00",
        &PARENT.to_uppercase(),
        &format!("{PARENT}-00"),
        &"é".repeat(1000),
    ] {
        let call = session
            .call::<(Seen, Seen)>(&chain.first, &())
            .header("traceparent", wrong)
            .header("tracestate", "vendor=1");
        let (_, last) = call.await.unwrap();
        assert_eq!(last, (None, None), "{wrong}");
    }
}

#[tokio::test]
async fn work_that_a_handler_spawns_can_go_along() {
    let _guard = (alone().await, nobody_looks());
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (one, two) = (unique("test.first"), unique("test.last"));
    let next = two.clone();
    let spawns = Procedure::new(&one, move |context: Context, (): ()| {
        let next = next.clone();
        async move {
            let call =
                move |session: Session| async move { session.call::<Seen>(next, &()).await.unwrap().0 };
            let session = context.session();
            let alone = tokio::spawn(call.clone()(session.clone())).await.unwrap();
            let trace = TraceContext::current().unwrap();
            let along = tokio::spawn(trace.scope(call(session.clone()))).await.unwrap();
            Ok::<_, Infallible>((alone, along))
        }
    });
    let service = Service::new().procedure(spawns).procedure(last(&two));
    let _service = service.start(&session).await.unwrap();

    let call = session.call::<(Option<String>, Option<String>)>(&one, &());
    let (alone, along) = call.header("traceparent", PARENT).await.unwrap();
    assert_eq!(alone, None);
    assert_eq!(along.unwrap()[..35], PARENT[..35]);
}

#[tokio::test]
async fn each_call_of_a_handler_is_a_step_of_its_own() {
    let _guard = (alone().await, nobody_looks());
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (one, two) = (unique("test.first"), unique("test.last"));
    let next = two.clone();
    let twice = Procedure::new(&one, move |context: Context, (): ()| {
        let next = next.clone();
        async move {
            let first: Seen = context.session().call(&next, &()).await.unwrap();
            let second: Seen = context.session().call(&next, &()).await.unwrap();
            Ok::<_, Infallible>((first, second))
        }
    });
    let service = Service::new().procedure(twice).procedure(last(&two));
    let _service = service.start(&session).await.unwrap();

    let call = session.call::<(Seen, Seen)>(&one, &());
    let (first, second) = call.header("traceparent", PARENT).await.unwrap();
    assert_ne!(first.0.unwrap(), second.0.unwrap());
}
