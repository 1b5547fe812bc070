//! A program's place among the others: it calls, produces and consumes through one [`Session`].

mod attempt;
mod builder;
mod call;
mod circuit;
mod clocks;
mod control;
mod gather;
mod gathered;
mod inbox;
mod inherit;
mod layered;
mod leave;
mod multicall;
mod one_way;
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
pub(crate) use gather::NotScattered;
pub use gathered::MulticallEnd;
pub(crate) use gathered::Until;
pub(crate) use inbox::TOPIC_PREFIX as REPLY_TOPIC_PREFIX;
pub(crate) use inherit::Inherited;
pub use layered::{Caller, OutgoingCall};
pub use multicall::{Answer, Answers, Multicall};
pub use one_way::OneWayCall;
pub(crate) use publish::Manner;
pub use retry::{Retry, RetryBudget};
pub use shared::Session;
