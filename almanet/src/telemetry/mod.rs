//! Seeing calls and events from outside: traces that go through all programs, and metrics.
//!
//! Every call and every handler has a [`tracing`] span, `call` and `handler`, at the level INFO. A call whose span is
//! enabled carries a [`TraceContext`] in its headers, as [W3C Trace Context] has it, and so do the calls that its handler
//! makes, in whatever language: all that happens on behalf of one request has one trace id, which the spans show. With the
//! feature `opentelemetry` the ids are those of `tracing-opentelemetry`, so that the spans of all programs form one trace
//! there. Where nobody looks at the spans and no trace comes in, nothing is paid for them.
//!
//! Events have spans too, `emit` and `consume`. Their bodies are bare payloads, so they carry a trace only where the session
//! says so ([`SessionBuilder::event_traces`](crate::SessionBuilder::event_traces)).
//!
//! `docs/observability.md` has all spans, metrics and log lines.
//!
//! [W3C Trace Context]: https://www.w3.org/TR/trace-context/

mod consumed;
mod context;
mod count;
mod counter;
mod current;
mod event;
mod latency;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
#[cfg(feature = "prometheus")]
mod prometheus;
mod span;

pub(crate) use consumed::{Answered, Consumed, Counted, Timing};
pub use context::{InvalidTraceContext, TraceContext};
pub(crate) use count::{Produced, circuit, unanswered};
pub(crate) use counter::Counter;
pub(crate) use event::{ConsumeSpan, EmitSpan, carry_trace};
pub(crate) use latency::Latencies;
#[cfg(feature = "prometheus")]
pub use prometheus::{Prometheus, PrometheusError};
pub(crate) use span::{CallSpan, run};
