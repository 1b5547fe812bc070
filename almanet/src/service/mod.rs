//! Procedures, and the services that serve them.

mod builder;
mod context;
mod control;
mod counts;
mod dispatch;
mod forward;
mod handle;
mod layered;
mod memory;
mod meter;
mod probe;
mod procedure;
mod reply;
mod run;
mod schema;
mod schema_topics;
mod serve;
mod serving;
mod start;
mod stream;
mod turn;
mod wait;

pub use builder::Service;
pub use context::Context;
pub(crate) use control::Control;
pub use counts::CallCounts;
pub use handle::ServiceHandle;
pub(crate) use layered::Runs;
pub use probe::{ObjectSchema, Probe, Unknown};
pub use procedure::{Handler, NoPayload, Outcome, Procedure, ProcedureOptions, Request};
pub use schema::{ErrorSchema, Schemas};
pub use stream::{infallible_items, items_of, send_items};
