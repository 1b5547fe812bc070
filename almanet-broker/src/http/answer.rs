//! What a request is answered with, in nsqd's form.

use std::borrow::Cow;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::limits::LimitReached;

const NSQ_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-nsq-content-type");
const NSQ_VERSION: HeaderValue = HeaderValue::from_static("nsq; version=1.0");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What every handler gives.
pub(super) type Reply = Result<Answer, Refusal>;

/// A success.
#[derive(Debug)]
pub(super) enum Answer {
    Empty,
    Text(Cow<'static, str>),
    Json(Vec<u8>),
}

impl Answer {
    pub(super) const OK: Self = Self::Text(Cow::Borrowed("OK"));

    pub(super) fn json(value: &impl Serialize) -> Reply {
        serde_json::to_vec(value)
            .map(Self::Json)
            .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"))
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Empty => respond(StatusCode::OK, None, Body::empty()),
            Self::Text(text) => respond(StatusCode::OK, Some(TEXT), Body::from(text)),
            Self::Json(json) => respond(StatusCode::OK, Some(JSON), Body::from(json)),
        }
    }
}

/// A refusal: its status, and the text in its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    message: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(super) fn bad_request(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(message: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn too_large(message: &'static str) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// The limit in words, where nsqd would write to its disk.
    pub(super) fn no_room(reached: &LimitReached) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reached.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "message": self.message }).to_string();
        respond(self.status, Some(JSON), Body::from(body))
    }
}

/// TLS is required: nsqd's tools go on at the port that is named, which is 0 where there is none.
pub(super) fn tls_required(https_port: u16) -> Response {
    let body = serde_json::json!({ "message": "TLS_REQUIRED", "https_port": https_port });
    respond(StatusCode::FORBIDDEN, Some(JSON), Body::from(body.to_string()))
}

fn respond(status: StatusCode, content_type: Option<HeaderValue>, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(NSQ_CONTENT_TYPE, NSQ_VERSION);
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
    response
}
