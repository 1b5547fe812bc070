//! Procedures, and the services that serve them.

mod builder;
mod context;
mod counts;
mod dispatch;
mod handle;
mod memory;
mod procedure;
mod reply;
mod run;
mod serve;
mod start;
mod turn;

pub use builder::Service;
pub use context::Context;
pub use counts::CallCounts;
pub use handle::ServiceHandle;
pub use procedure::{Handler, NoPayload, Outcome, Procedure, ProcedureOptions, Request};
