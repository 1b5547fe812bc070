//! What the broker holds and has done, for nsqd's tools and for Prometheus.
//!
//! Nothing here is counted on the way of a message beyond what each topic and channel counts under its own lock:
//! statistics are gathered when somebody asks.

mod client;
mod metrics;
mod node;
mod text;

pub(crate) use self::{
    metrics::BrokerMetrics,
    node::{NodeStats, Selection},
};
