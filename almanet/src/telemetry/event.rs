//! The spans of events that go out, and of those that are handled.

use almanet_nsq::TopicName;
use tracing::{Instrument, Span, field::Empty};

use super::{
    context::TraceContext,
    span::{HandlerSpan, Watched, adopt, context_of, record_trace},
};
use crate::{
    event::{EventContext, Failure},
    transport::PublishError,
    wire::Headers,
};

/// The span of events that go out together.
#[derive(Debug)]
pub(crate) struct EmitSpan(Watched);

impl EmitSpan {
    /// Opens the span of events that go out to `topic`. Where there is a trace, and `carried` says so, `headers` carry its
    /// place in it, unless they do already. `None` when nobody looks and nothing is to be carried.
    pub(crate) fn open(topic: &TopicName, carried: bool, headers: &mut Headers) -> Option<Self> {
        let span = tracing::info_span!(
            target: "almanet::emit",
            "emit",
            otel.name = %topic,
            otel.kind = "producer",
            otel.status_code = Empty,
            %topic,
            trace_id = Empty,
            outcome = Empty,
        );
        let current = TraceContext::current();
        if span.is_disabled() && (current.is_none() || !carried) {
            return None;
        }
        Some(Self::place(span, current, carried, headers))
    }

    #[cold]
    fn place(span: Span, current: Option<TraceContext>, carried: bool, headers: &mut Headers) -> Self {
        if let Some(given) = TraceContext::from_headers(headers) {
            adopt(&span, &given);
            record_trace(&span, &given);
            return Self(Watched::new(span));
        }
        let around = Span::current();
        let is_traced = current.is_some() || context_of(&around).is_some();
        if let (Some(current), true) = (&current, around.is_none()) {
            adopt(&span, current);
        }
        if !is_traced {
            return Self(Watched::new(span));
        }
        let context = context_of(&span).or_else(|| current.as_ref().map(TraceContext::child));
        if let Some(context) = context {
            record_trace(&span, &context);
            if carried {
                context.write_to(headers);
            }
        }
        Self(Watched::new(span))
    }

    /// Runs the publishing in the span, and notes how it ends.
    pub(crate) async fn watch(
        self,
        publishing: impl Future<Output = Result<(), PublishError>>,
    ) -> Result<(), PublishError> {
        let outcome = publishing.instrument(self.0.span().clone()).await;
        self.0.ended(match &outcome {
            Ok(()) => "ok",
            Err(PublishError::Unconfirmed { .. }) => "unconfirmed",
            Err(_) => "failed",
        });
        outcome
    }
}

/// Lets `headers` carry the trace that is under way here, if there is one.
pub(crate) fn carry_trace(headers: &mut Headers) {
    let here = TraceContext::current().or_else(|| context_of(&Span::current()));
    if let Some(here) = here {
        here.write_to(headers);
    }
}

/// The span of the handler of an event.
#[derive(Debug)]
pub(crate) struct ConsumeSpan(HandlerSpan);

impl ConsumeSpan {
    /// Opens the span of the handler that gets `context`; `None` when nobody looks and no trace came in.
    pub(crate) fn open(context: &EventContext) -> Option<Self> {
        let span = tracing::info_span!(
            target: "almanet::consume",
            "consume",
            otel.name = %context.topic(),
            otel.kind = "consumer",
            otel.status_code = Empty,
            topic = %context.topic(),
            channel = %context.channel(),
            event = %context.message_id(),
            attempt = context.attempt(),
            trace_id = Empty,
            outcome = Empty,
        );
        HandlerSpan::enter(span, context.headers()).map(Self)
    }

    /// Runs the handler in the span, and notes how it ends.
    pub(crate) async fn watch(
        self,
        handler: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        self.0.watch(handler, Failure::outcome).await
    }
}
