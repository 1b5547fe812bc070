//! Why a server gave no answer.

use std::{error::Error, io, time::Duration};

use hyper::StatusCode;

/// Why a server gave no answer. None of it repeats the request, which may hold a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpClientError {
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    #[cfg(feature = "tls")]
    #[error("no TLS with it: {0}")]
    Tls(io::Error),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the question cannot be sent")]
    Unaskable,
    #[error("{0}")]
    Http(hyper::Error),
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn Error + Send + Sync>),
    #[error("the status is {0}")]
    Status(StatusCode),
    // Its own words would quote the answer, and that may repeat a secret.
    #[error("the answer is not the JSON that it should be: line {}, column {}", .0.line(), .0.column())]
    Json(serde_json::Error),
}
