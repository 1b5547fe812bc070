//! What the benchmarks share: bounded load, the echo service, child processes and what processes cost.

pub mod child;
pub mod echo;
pub mod load;
pub mod usage;

/// Why a benchmark stops. It is only printed.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
