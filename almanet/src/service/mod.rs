//! Procedures, and the services that serve them.

mod builder;
mod context;
mod dispatch;
mod handle;
mod layered;
mod procedure;
mod reply;
mod serve;
mod start;

pub use builder::Service;
pub use context::Context;
pub use handle::ServiceHandle;
pub use procedure::{Handler, NoPayload, Outcome, Procedure, ProcedureOptions, Request};
