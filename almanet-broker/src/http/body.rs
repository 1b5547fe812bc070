//! The body of a request, within a size and a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header::CONTENT_LENGTH},
};
use bytes::Bytes;
use http_body_util::BodyExt;

use super::answer::Refusal;
use crate::{limits::ArrivingShare, registry::Registry};

/// How long a body may take to arrive: 5 MiB, the largest by default, at 90 KB/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Refuses a body that says itself that it is larger than `limit` bytes, before it is read.
pub(super) fn check_length(
    headers: &HeaderMap,
    limit: usize,
    too_large: &'static str,
) -> Result<(), Refusal> {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(Refusal::too_large(too_large));
    }
    Ok(())
}

/// The room for one body, given back when it is dropped.
///
/// Many clients that send large bodies at once could take any amount of memory, so they share a limit: see
/// [`ArrivingShare`].
pub(super) struct Room<'a> {
    registry: &'a Registry,
    share: ArrivingShare,
}

impl<'a> Room<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            share: ArrivingShare::new(Arc::clone(registry.memory())),
        }
    }

    fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.share.set(bytes).map_err(|reached| {
            self.registry.limit_log().report(&reached, Instant::now());
            Refusal::no_room(&reached)
        })
    }
}

/// Reads a body of at most `limit` bytes, which counts as long as its `room` is kept.
///
/// Memory is taken for what has arrived, not for what is announced.
pub(super) async fn read(
    body: Body,
    limit: usize,
    too_large: &'static str,
    room: &mut Room<'_>,
) -> Result<Bytes, Refusal> {
    let reading = collect(body, limit, too_large, room);
    tokio::time::timeout(BODY_TIMEOUT, reading)
        .await
        .unwrap_or(Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT")))
}

async fn collect(
    mut body: Body,
    limit: usize,
    too_large: &'static str,
    room: &mut Room<'_>,
) -> Result<Bytes, Refusal> {
    let mut arrived = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = arrived.len() + data.len();
        if length > limit {
            return Err(Refusal::too_large(too_large));
        }
        if length > arrived.capacity() {
            // Doubling keeps the number of copies small, and the limit what is taken in vain.
            let wanted = length.max(limit.min(arrived.capacity() * 2));
            room.take(wanted)?;
            arrived.reserve_exact(wanted - arrived.len());
        }
        arrived.extend_from_slice(&data);
    }
    arrived.shrink_to_fit();
    Ok(arrived.into())
}
