//! Between W3C Trace Context and `tracing-opentelemetry`.

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::context::TraceContext;

/// The ids that OpenTelemetry has given to `span`; `None` when it does not see the span.
pub(super) fn context_of(span: &Span) -> Option<TraceContext> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| {
        TraceContext::from_parts(
            span.trace_id().to_bytes(),
            span.span_id().to_bytes(),
            span.trace_flags().to_u8(),
            &span.trace_state().header(),
        )
    })
}

/// Makes `span` a child of where `parent` is.
pub(super) fn set_parent(span: &Span, parent: &TraceContext) {
    let state = parent.state().and_then(|state| state.parse().ok());
    let remote = SpanContext::new(
        TraceId::from_bytes(parent.trace_id()),
        SpanId::from_bytes(parent.span_id()),
        TraceFlags::new(parent.flags()),
        true,
        state.unwrap_or(TraceState::NONE),
    );
    // An error says that OpenTelemetry does not see the span.
    let _ = span.set_parent(Context::new().with_remote_span_context(remote));
}
