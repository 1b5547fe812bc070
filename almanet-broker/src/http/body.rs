//! The body of a request, within a size and a time.

use std::{error::Error, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header::CONTENT_LENGTH},
};
use bytes::Bytes;
use http_body_util::LengthLimitError;

use super::answer::Refusal;

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

/// Reads a body of at most `limit` bytes. Memory is taken for what has arrived, not for what is announced.
pub(super) async fn read(body: Body, limit: usize, too_large: &'static str) -> Result<Bytes, Refusal> {
    let read = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, limit));
    match read.await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.source().is_some_and(|cause| cause.is::<LengthLimitError>()) => {
            Err(Refusal::too_large(too_large))
        }
        Ok(Err(_)) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR")),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT")),
    }
}
