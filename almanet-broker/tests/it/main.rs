//! The broker's behaviour in bytes over TCP.
//!
//! With `ALMANET_TEST_NSQD=host:port` in the environment, all tests but those about deliberate differences run against
//! that nsqd instead; those about HTTP against `ALMANET_TEST_NSQD_HTTP`, or the port behind the first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod auth_https;
mod auth_server;
mod authenticating;
mod certificates;
mod compressing;
mod data_file;
mod data_path;
mod finding_channels;
mod heartbeat;
mod http;
mod http_channels;
mod http_latency;
mod http_memory;
mod http_metrics;
mod http_publish;
mod http_server;
mod http_stats;
mod http_stats_clients;
mod http_topics;
mod https;
mod identify;
mod lifecycle;
mod limits;
mod lookupd;
mod packing;
mod peers;
mod publish;
mod refusals;
mod refusing;
#[cfg(feature = "lookupd")]
mod registration;
mod securing;
mod subscribe;
mod support;
mod timeouts;
