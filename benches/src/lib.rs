//! What the benchmarks share: bounded load, taking turns, the echo service, messages, brokers, child processes and what
//! processes cost.

pub mod alternate;
pub mod broker;
pub mod child;
pub mod echo;
pub mod load;
pub mod messages;
pub mod usage;

/// Why a benchmark stops. It is only printed.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
