//! Middleware: [`tower`] layers around procedures, around the calls of a session, and around consumers of events.
//!
//! [`Procedure::layer`](crate::Procedure::layer) and [`Service::layer`](crate::Service::layer) wrap what runs when a call
//! comes in, a [`Handler`](crate::Handler) that takes a [`Request`](crate::Request);
//! [`SessionBuilder::layer`](crate::SessionBuilder::layer), and [`Session::layer`](crate::Session::layer) for one clone, wrap
//! what makes the calls that go out, a [`Caller`](crate::Caller) that takes an [`OutgoingCall`](crate::OutgoingCall);
//! [`PushConsumer::layer`](crate::PushConsumer::layer) and [`Service::consumer_layer`](crate::Service::consumer_layer) wrap
//! what runs for each event, an [`EventHandler`](crate::EventHandler) that takes an
//! [`IncomingEvent`](crate::IncomingEvent). Every tower layer fits whose service can
//! be cloned; these are at hand:
//!
//! - [`TimeoutLayer`]: gives up what takes too long. The caller gets [`CallError::Timeout`](crate::CallError::Timeout).
//! - [`ConcurrencyLimitLayer`]: lets so many calls of a procedure run at once, the others wait;
//!   [`GlobalConcurrencyLimitLayer`]: so many of all procedures that it is put around together.
//! - [`LoadShedLayer`]: outside of a limit, refuses what would have to wait. The caller gets
//!   [`CallError::Overloaded`](crate::CallError::Overloaded).
//! - `MetricsLayer` (feature `metrics`): measures how long calls and events take and how many are under way.
//! - [`from_fn`]: one of your own, from a function.
//!
//! The last layer added is the outermost, and those of a service are outside of those of its procedures. Without layers
//! nothing is paid for them.
//!
//! # What becomes of errors
//!
//! A layer around a procedure that fails with a [`RemoteError`](crate::RemoteError) answers the call with it:
//! [`Request::raise`](crate::Request::raise) makes one of a typed error. A timeout and an overload are answered as such.
//! Anything else is logged, and the caller gets [`CallError::Internal`](crate::CallError::Internal). A layer around calls
//! fails with a [`CallError`](crate::CallError) that reaches the caller as it is, or with any other error as the source of
//! [`CallError::Layer`](crate::CallError::Layer). A layer around a consumer fails with a [`Failure`](crate::Failure), as the
//! handler does; after any other error the event is handled again.

mod function;
#[cfg(feature = "metrics")]
mod metrics;

pub use function::{FnLayer, FnService, Next, from_fn};
#[cfg(feature = "metrics")]
pub use metrics::{MetricsLayer, MetricsService};
pub use tower::{
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer},
    load_shed::LoadShedLayer,
    timeout::TimeoutLayer,
};
