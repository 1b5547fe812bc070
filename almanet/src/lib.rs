//! Microservices on NSQ: annotate an async function and call it by name; emit events and consume them.
//!
//! A [`Session`] is a program's place among the others. `#[service]` and `#[procedure]` make remote procedures of plain
//! async functions; any session calls them by name, with a timeout and typed errors. Events go to whoever subscribed.
//!
//! ```
//! use almanet::{Broker, BrokerConfig, RpcError, Session, service};
//!
//! #[derive(Debug, thiserror::Error, RpcError)]
//! enum GreetError {
//!     #[error("{name} is not welcome here")]
//!     Denied { name: String },
//! }
//!
//! /// Greets people.
//! #[service(prepath = "net.example")]
//! mod greetings {
//!     use super::GreetError;
//!
//!     /// Greets a person by name.
//!     #[procedure]
//!     pub async fn greet(name: String) -> Result<String, GreetError> {
//!         if name == "Bob" {
//!             return Err(GreetError::Denied { name });
//!         }
//!         Ok(format!("Hello, {name}!"))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A broker inside this program; an nsqd is used in the same way, by its address.
//! let broker = Broker::start(BrokerConfig::default()).await?;
//! let session = Session::connect(broker.tcp_addr().to_string()).await?;
//! let service = greetings::service().start(&session).await?;
//!
//! assert_eq!(greetings::greet::call(&session, "Aidar".into()).await?, "Hello, Aidar!");
//! # service.stop().await;
//! # session.leave().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What to read first
//!
//! - [`Session`]: connect, [`call`](Session::call), [`send`](Session::send), [`multicall`](Session::multicall),
//!   [`produce`](Session::produce), [`emit`](Session::emit), [`consume`](Session::consume), [`leave`](Session::leave).
//! - [`macro@service`] and [`macro@procedure`]: the two attributes, their options and what they generate.
//! - [`macro@consumer`] and [`PushConsumer`]: functions that are given events, and what becomes of each.
//! - [`Service`]: [`start`](Service::start) it on a session, or [`serve`](Service::serve) until the process is stopped.
//! - [`blocking`]: sessions for programs without a runtime.
//! - [`layer`]: middleware around procedures, and around the calls of a session.
//! - [`Session::discover`] and [`Session::introspect`]: what runs, and how it does.
//! - [`CallError`]: everything that can become of a call; [`RpcError`](macro@RpcError): errors of your own.
//!
//! # Cargo features
//!
//! - `embedded` (default): [`Broker`], which speaks NSQ's protocol, to run inside the program.
//! - `metrics`: `layer::MetricsLayer`, and counters, through the facade `metrics`; `prometheus`: `telemetry::Prometheus`, where
//!   they can be fetched.
//! - `opentelemetry`: [traces](telemetry) whose ids are OpenTelemetry's, by `tracing-opentelemetry`.
//! - `testing`: `testing::TestBed`, for tests: broker, service and session in one line, and faults at will.
//! - `schema` (default): JSON Schemas of what procedures take and return, by [`schemars`].
//! - `tls` (default): [`transport::Tls`], for connections to nsqd over TLS; building it needs a C compiler.

mod cancellation;
mod drain;
mod error;
mod event;
mod id;
mod introspect;
mod macros;
mod panic;
mod recent;
mod runner;
mod service;
mod session;
mod uri;
mod wire;

pub mod blocking;
pub mod layer;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transport;

#[cfg(feature = "embedded")]
pub use almanet_broker::{Broker, BrokerConfig};
pub use error::{
    CallError, CommitError, ConnectError, ConsumeError, FailedCall, IntrospectError, LeaveError,
    ProduceError, RemoteError, ReplayError, RpcError, ServeError, StartError,
};
pub use event::{
    AutoAck, Batch, Consume, Consumer, DeadLetter, DeadLetters, Event, EventContext, EventHandler,
    EventRetry, Failure, HandlerResult, IncomingEvent, InvalidPattern, PushConsumer, Reason, Received,
    ReceivedBatch, Replayed, TopicPattern, Undecodable,
};
pub use id::{Id, InvalidId};
pub use introspect::{
    ConsumerInfo, ConsumerStats, EventSchema, Instance, InstanceInfo, InstanceStats, Introspection,
    ProcedureInfo, ProcedureSchema, ProcedureStats,
};
pub use macros::{Event, RpcError, consumer, procedure, service};
#[cfg(feature = "schema")]
pub use schemars;
pub use service::{
    CallCounts, Context, ErrorSchema, Handler, Procedure, ProcedureOptions, Request, Schemas, Service,
    ServiceHandle,
};
pub use session::{
    Answer, Answers, Call, Caller, CircuitBreaker, CircuitState, Multicall, MulticallEnd, OneWayCall,
    OutgoingCall, ResponseStream, Retry, RetryBudget, Session, SessionBuilder, StreamCall,
};
pub use uri::{InvalidUri, Uri};
pub use wire::{
    Codec, Control, ControlKind, DecodeError, EncodeError, EnvelopeError, EventBody, Headers, Invocation,
    Payload, Reply, StreamCredit, StreamEnd, StreamItems,
};

/// What generated code refers to. Not for others: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use serde;
    pub use serde_json;

    pub use crate::service::{
        NoPayload, ObjectSchema, Outcome, Probe, Unknown, infallible_items, items_of, send_items,
    };
}

/// The snippets of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The snippets of the guides compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/middleware.md")]
struct Middleware;

#[cfg(doctest)]
#[doc = include_str!("../../docs/calling.md")]
struct Calling;

#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../docs/testing.md")]
struct Testing;

/// The snippets of the guide from Python compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/from-python.md")]
struct FromPython;

/// And those of the guide to streams.
#[cfg(doctest)]
#[doc = include_str!("../../docs/streaming.md")]
struct Streaming;

/// So do those of the guide to events.
#[cfg(doctest)]
#[doc = include_str!("../../docs/events.md")]
struct EventsGuide;
