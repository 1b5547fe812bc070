//! The spans of all programs form one trace in OpenTelemetry.

use almanet::{Context, EventContext, Procedure, PushConsumer, RpcError, Service};
use almanet_tests::{TestBroker, unique};
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

use crate::alone;

#[derive(Debug, thiserror::Error, RpcError)]
#[error("no")]
struct Refused;

struct Exported {
    provider: SdkTracerProvider,
    exporter: InMemorySpanExporter,
    _guard: DefaultGuard,
}

impl Exported {
    fn start() -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        Self {
            _guard: tracing::subscriber::set_default(subscriber),
            provider,
            exporter,
        }
    }

    fn span(&self, name: &str, kind: SpanKind) -> SpanData {
        self.provider.force_flush().unwrap();
        let spans = self.exporter.get_finished_spans().unwrap();
        let found = spans
            .iter()
            .find(|span| span.name == name && span.span_kind == kind);
        found
            .unwrap_or_else(|| panic!("no {kind:?} {name} in {spans:#?}"))
            .clone()
    }
}

#[tokio::test]
async fn calls_and_handlers_are_one_trace() {
    let _alone = alone().await;
    let exported = Exported::start();
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (one, two) = (unique("test.first"), unique("test.last"));
    let next = two.clone();
    let first = Procedure::new(&one, move |context: Context, (): ()| {
        let next = next.clone();
        async move {
            let outcome = context.session().call::<()>(next, &()).await;
            Ok::<_, std::convert::Infallible>(outcome.is_err())
        }
    });
    let last = Procedure::new(&two, |_: Context, (): ()| async { Err::<(), _>(Refused) });
    let service = Service::new().procedure(first).procedure(last);
    let handle = service.start(&session).await.unwrap();
    assert!(session.call::<bool>(&one, &()).await.unwrap());
    handle.stop().await;

    let outer_call = exported.span(&one, SpanKind::Client);
    let outer_handler = exported.span(&one, SpanKind::Server);
    let inner_call = exported.span(&two, SpanKind::Client);
    let inner_handler = exported.span(&two, SpanKind::Server);
    assert_eq!(outer_call.parent_span_id, SpanId::INVALID);
    for (child, parent) in [
        (&outer_handler, &outer_call),
        (&inner_call, &outer_handler),
        (&inner_handler, &inner_call),
    ] {
        assert_eq!(
            child.parent_span_id,
            parent.span_context.span_id(),
            "{}",
            child.name
        );
        assert_eq!(child.span_context.trace_id(), parent.span_context.trace_id());
    }
    assert_eq!(outer_handler.status, Status::Ok);
    assert!(
        matches!(inner_handler.status, Status::Error { .. }),
        "{:?}",
        inner_handler.status
    );
}

#[tokio::test]
async fn a_trace_that_comes_in_is_joined() {
    let _alone = alone().await;
    let exported = Exported::start();
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.echo");
    let handle = Service::new()
        .procedure(almanet_tests::echo(&uri))
        .start(&session)
        .await
        .unwrap();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let call = session.call::<String>(&uri, "hi").header("traceparent", parent);
    call.await.unwrap();
    handle.stop().await;

    let handler = exported.span(&uri, SpanKind::Server);
    let trace = TraceId::from_hex("4bf92f3577b34da6a3ce929d0e0e4736").unwrap();
    assert_eq!(handler.span_context.trace_id(), trace);
    assert_eq!(
        handler.parent_span_id,
        SpanId::from_hex("00f067aa0ba902b7").unwrap()
    );
    assert!(handler.parent_span_is_remote);
}

#[tokio::test]
async fn a_call_the_event_that_its_handler_emits_and_the_consumer_are_one_trace() {
    let _alone = alone().await;
    let exported = Exported::start();
    let broker = TestBroker::start().await;
    let session = broker.session_with(|builder| builder.event_traces(true)).await;
    let (uri, topic) = (unique("test.order"), unique("test.ordered"));
    let ordered = topic.clone();
    let order = Procedure::new(&uri, move |context: Context, number: u64| {
        let ordered = ordered.clone();
        async move {
            context.session().produce(&ordered, &number).await.unwrap();
            Ok::<_, std::convert::Infallible>(())
        }
    });
    let (seen, mut handled) = tokio::sync::mpsc::unbounded_channel();
    let consumer = PushConsumer::new(&topic, "mailer", move |_: EventContext, number: u64| {
        seen.send(number).unwrap();
        async {}
    });
    let service = Service::new().procedure(order).consumer(consumer);
    let handle = service.start(&session).await.unwrap();
    session.call::<()>(&uri, &7).await.unwrap();
    assert_eq!(handled.recv().await, Some(7));
    handle.stop().await;

    let chain = [
        exported.span(&uri, SpanKind::Client),
        exported.span(&uri, SpanKind::Server),
        exported.span(&topic, SpanKind::Producer),
        exported.span(&topic, SpanKind::Consumer),
    ];
    for pair in chain.windows(2) {
        let [parent, child] = pair else { continue };
        assert_eq!(
            child.parent_span_id,
            parent.span_context.span_id(),
            "{}",
            child.name
        );
        assert_eq!(child.span_context.trace_id(), parent.span_context.trace_id());
    }
    assert!(chain[3].parent_span_is_remote);
    assert_eq!(chain[3].status, Status::Ok);
}
