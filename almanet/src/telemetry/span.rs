//! The spans of calls and handlers.

use std::fmt::Display;

use futures_util::future::Either;
use tracing::{Instrument, Span, field::Empty};

use super::context::TraceContext;
use crate::{
    error::{
        CallError, INTERNAL_ERROR, INTERRUPTED, INVALID_PAYLOAD, INVALID_RETURN, OVERLOADED, RemoteError,
        RpcError, STREAM_ONLY, TIMEOUT,
    },
    service::{Request, Runs},
    wire::{Headers, Payload},
};

/// The span of a call that goes out.
#[derive(Debug)]
pub(crate) struct CallSpan(Watched);

impl CallSpan {
    /// Opens the span of a call to `procedure` and lets `headers` carry its place in the trace, unless they do already;
    /// `None` when nobody looks and there is no trace to be carried on.
    pub(crate) fn open(procedure: impl Display, headers: &mut Headers) -> Option<Self> {
        let span = tracing::info_span!(
            target: "almanet::call",
            "call",
            otel.name = %procedure,
            otel.kind = "client",
            otel.status_code = Empty,
            %procedure,
            trace_id = Empty,
            outcome = Empty,
        );
        let current = TraceContext::current();
        if span.is_disabled() && current.is_none() {
            return None;
        }
        Some(Self::place(span, current, headers))
    }

    #[cold]
    fn place(span: Span, current: Option<TraceContext>, headers: &mut Headers) -> Self {
        if let Some(given) = TraceContext::from_headers(headers) {
            adopt(&span, &given);
            record_trace(&span, &given);
            return Self(Watched::new(span));
        }
        if let (Some(current), true) = (&current, Span::current().is_none()) {
            adopt(&span, current);
        }
        let context = context_of(&span).unwrap_or_else(|| match current {
            Some(current) => current.child(),
            None => TraceContext::begin(),
        });
        context.write_to(headers);
        record_trace(&span, &context);
        Self(Watched::new(span))
    }

    /// Notes how what the call is about has ended, where that takes longer than the call.
    pub(crate) fn ended(self, outcome: &str) {
        self.0.ended(outcome);
    }

    /// Runs the call in the span, and notes how it ends.
    pub(crate) async fn watch<T, E: RpcError>(
        self,
        call: impl Future<Output = Result<T, CallError<E>>>,
    ) -> Result<T, CallError<E>> {
        let outcome = call.instrument(self.0.span.clone()).await;
        self.0.ended(match &outcome {
            Ok(_) => "ok",
            Err(error) => error.outcome(),
        });
        outcome
    }
}

/// Runs what is called, in its span where somebody looks or a trace came in. That is boxed, so that what nobody looks at carries
/// none of it.
pub(crate) fn run(
    runs: &Runs,
    request: Request,
) -> impl Future<Output = Result<Payload, RemoteError>> + Send {
    let span = HandlerSpan::open(&request);
    // Not before it is awaited: a function may do much before it has a future.
    let running = async move { runs.run(request).await };
    match span {
        None => Either::Left(running),
        Some(span) => Either::Right(Box::pin(span.watch(running, RemoteError::outcome))),
    }
}

/// The span of a handler that runs.
#[derive(Debug)]
pub(super) struct HandlerSpan {
    watched: Watched,
    context: TraceContext,
}

impl HandlerSpan {
    /// Opens the span of the handler that gets `request`; `None` when nobody looks and no trace came in.
    fn open(request: &Request) -> Option<Self> {
        let context = &request.context;
        let span = tracing::info_span!(
            target: "almanet::handler",
            "handler",
            otel.name = %context.procedure(),
            otel.kind = "server",
            otel.status_code = Empty,
            procedure = %context.procedure(),
            call = %context.call_id(),
            caller = %context.caller_id(),
            attempt = context.attempt(),
            trace_id = Empty,
            outcome = Empty,
        );
        Self::enter(span, context.headers())
    }

    /// The span of what came with `headers`; `None` when nobody looks and no trace came in.
    pub(super) fn enter(span: Span, headers: &Headers) -> Option<Self> {
        if span.is_disabled() && headers.is_empty() {
            return None;
        }
        Self::place(span, headers)
    }

    #[cold]
    fn place(span: Span, headers: &Headers) -> Option<Self> {
        let parent = TraceContext::from_headers(headers);
        if span.is_disabled() && parent.is_none() {
            return None;
        }
        if let Some(parent) = &parent {
            adopt(&span, parent);
        }
        let context = context_of(&span).unwrap_or_else(|| match parent {
            Some(parent) => parent.child(),
            None => TraceContext::begin(),
        });
        record_trace(&span, &context);
        Some(Self {
            watched: Watched::new(span),
            context,
        })
    }

    /// Runs the handler in the span, and notes how it ends; `failed` has the word for an error.
    pub(super) async fn watch<T, E>(
        self,
        handler: impl Future<Output = Result<T, E>>,
        failed: fn(&E) -> &'static str,
    ) -> Result<T, E> {
        let Self { watched, context } = self;
        let handler = handler.instrument(watched.span.clone());
        let outcome = context.scope(handler).await;
        watched.ended(match &outcome {
            Ok(_) => "ok",
            Err(error) => failed(error),
        });
        outcome
    }
}

/// A span that shows how what it is around has ended; dropped before, it shows that.
#[derive(Debug)]
pub(super) struct Watched {
    span: Span,
    ended: bool,
}

impl Watched {
    pub(super) fn new(span: Span) -> Self {
        Self { span, ended: false }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn ended(mut self, outcome: &str) {
        self.note(outcome);
    }

    fn note(&mut self, outcome: &str) {
        self.ended = true;
        self.span.record("outcome", outcome);
        let status = if outcome == "ok" { "OK" } else { "ERROR" };
        self.span.record("otel.status_code", status);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.ended {
            self.note("dropped");
        }
    }
}

pub(super) fn record_trace(span: &Span, context: &TraceContext) {
    if !span.is_disabled() {
        span.record("trace_id", tracing::field::display(context.trace_id_text()));
    }
}

impl<E: std::error::Error> CallError<E> {
    /// How the call ended, in one of a few words.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Remote(_) | Self::Unexpected { .. } => "error",
            Self::InvalidPayload { .. } => "invalid_payload",
            Self::InvalidReturn { .. } => "invalid_return",
            Self::Internal { .. } => "internal",
            Self::Timeout { .. } => "timeout",
            Self::NoResponders { .. } => "no_responders",
            Self::Overloaded { .. } => "overloaded",
            Self::StreamOnly { .. } | Self::NotAStream { .. } => "invalid_call",
            Self::Interrupted { .. } => "interrupted",
            Self::Layer { .. } => "layer",
            Self::Disconnected { .. } => "disconnected",
            Self::Cancelled { .. } => "cancelled",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::InvalidUri(_) | Self::Encode { .. } | Self::TooLarge { .. } | Self::DelayTooLong { .. } => {
                "invalid_call"
            }
            Self::Decode { .. } => "invalid_answer",
            Self::Publish { .. } | Self::Subscribe { .. } => "unreachable",
            Self::SessionLeft => "session_left",
        }
    }
}

impl RemoteError {
    /// How the handler ended, in one of a few words.
    pub(crate) fn outcome(&self) -> &'static str {
        match self.name() {
            INVALID_PAYLOAD => "invalid_payload",
            INVALID_RETURN => "invalid_return",
            INTERNAL_ERROR => "internal",
            TIMEOUT => "timeout",
            OVERLOADED => "overloaded",
            STREAM_ONLY => "invalid_call",
            INTERRUPTED => "interrupted",
            _ => "error",
        }
    }
}

#[cfg(feature = "opentelemetry")]
pub(super) use super::opentelemetry::{context_of, set_parent as adopt};

/// Without OpenTelemetry, spans have no ids that other programs could know.
#[cfg(not(feature = "opentelemetry"))]
pub(super) fn context_of(_: &Span) -> Option<TraceContext> {
    None
}

#[cfg(not(feature = "opentelemetry"))]
pub(super) fn adopt(_: &Span, _: &TraceContext) {}
