//! Asking the services that run what they are and how they do.
//!
//! A question is an invocation on the topic `_rpc_._control_`, which each serving session has a channel of its own on,
//! so all of them read it. Each service answers to the reply topic of whoever asked. docs/protocol.md describes both.

mod ask;
mod question;
mod report;

pub use ask::Introspection;
pub(crate) use question::{Ask, CONTROL_TOPIC, Question};
pub(crate) use report::millis;
pub use report::{
    ConsumerInfo, ConsumerStats, EventSchema, Instance, InstanceInfo, InstanceStats, ProcedureInfo,
    ProcedureSchema, ProcedureStats,
};
