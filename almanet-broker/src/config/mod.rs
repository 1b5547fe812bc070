//! What a broker can be told: where it listens, its limits, and what it measures.

mod http_client;
#[cfg(feature = "http")]
mod latency;
mod output_buffer;
mod settings;

#[cfg(feature = "http")]
pub use self::latency::{Percentile, PercentileError};
pub use self::settings::BrokerConfig;

#[cfg(feature = "http")]
pub(crate) use self::latency::LatencyConfig;
pub(crate) use self::output_buffer::OutputBuffer;
