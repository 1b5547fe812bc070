//! `/ping` and `/info`.

use std::{sync::Arc, time::UNIX_EPOCH};

use axum::extract::State;
use serde::Serialize;

use super::{
    answer::{Answer, Reply},
    api::Api,
};
use crate::version::VERSION;

/// `GET /ping`: a broker that answers is well, since it writes to no disk while it runs.
pub(super) async fn ping() -> &'static str {
    "OK"
}

#[derive(Debug, Serialize)]
struct Info<'a> {
    version: &'a str,
    broadcast_address: &'a str,
    hostname: &'a str,
    http_port: u16,
    tcp_port: u16,
    /// Seconds since 1970.
    start_time: u64,
    /// Nanoseconds.
    max_heartbeat_interval: u64,
    max_output_buffer_size: usize,
    /// Nanoseconds.
    max_output_buffer_timeout: u64,
    max_deflate_level: u8,
}

/// `GET /info`
pub(super) async fn info(State(api): State<Arc<Api>>) -> Reply {
    let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Answer::json(&Info {
        version: VERSION,
        broadcast_address: api.broadcast_address(),
        hostname: &api.hostname,
        http_port: api.http_addr.map_or(0, |address| address.port()),
        tcp_port: api.tcp_addr.port(),
        start_time: api
            .start_time
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
        max_heartbeat_interval: nanos(api.config.max_heartbeat_interval),
        max_output_buffer_size: api.config.output_buffer.max_size,
        max_output_buffer_timeout: nanos(api.config.output_buffer.max_timeout),
        max_deflate_level: api.config.max_deflate_level,
    })
}
