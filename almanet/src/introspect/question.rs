//! The question as it travels.

use serde::{Deserialize, Serialize};

/// Where questions are published. The name is made like that of a procedure `_control_`, so that whoever can call can
/// ask; no procedure can have it.
pub(crate) const CONTROL_TOPIC: &str = "_rpc_._control_";

/// The payload of the invocation that asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) ask: Ask,
    /// Only services of this name shall answer.
    #[serde(default)]
    pub(crate) service: Option<String>,
    /// Only services that have this procedure shall answer, and about nothing else.
    #[serde(default)]
    pub(crate) procedure: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    Ping,
    Info,
    Stats,
    Schema,
    EventSchema,
}
