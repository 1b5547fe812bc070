//! A program's place among the others: it calls, produces and consumes through one [`Session`].

mod again;
mod attempt;
mod builder;
mod call;
mod circuit;
mod clocks;
mod control;
mod gather;
mod inbox;
mod inherit;
mod layered;
mod leave;
mod outbox;
mod pending;
mod publish;
mod retry;
mod running;
mod shared;

pub use builder::SessionBuilder;
pub use call::Call;
pub use circuit::{CircuitBreaker, CircuitState};
pub(crate) use clocks::unix_nanos;
pub(crate) use inherit::Inherited;
pub use layered::{Caller, OutgoingCall};
pub(crate) use publish::Manner;
pub use retry::{Retry, RetryBudget};
pub use shared::Session;
