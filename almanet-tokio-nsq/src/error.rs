//! What can go wrong while connecting, as far as tokio-nsq tells.

use std::time::Duration;

/// Why no node could be used. tokio-nsq keeps the reason to itself and its log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no answer from {} within {waited:?}: is nsqd or almanet-broker running there?", .addresses.join(", "))]
pub struct NotConnected {
    /// The addresses that were tried.
    pub addresses: Vec<String>,
    /// How long each had.
    pub waited: Duration,
}
