//! What invocations and replies have in common: how their envelopes begin and fail, and what those in JSON hold.

use std::borrow::Cow;

use almanet_nsq::InvalidName;
use bytes::Bytes;
use serde::{Deserialize, Serialize, de};
use serde_json::value::RawValue;

use super::codec::{Codec, DecodeError};
use crate::id::Id;

/// The version that begins a MessagePack envelope.
pub(super) const VERSION: u8 = 1;

/// A body that is no envelope of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The body begins like neither codec's envelope.
    #[error("the body is neither a MessagePack nor a JSON envelope")]
    Unknown,
    /// The envelope is of a later, incompatible version.
    #[error("the envelope has version {version}, this library reads {VERSION}")]
    Version {
        /// The version that was found.
        version: u8,
    },
    /// The envelope does not have the shape of its codec.
    #[error("the envelope is not well formed: {0}")]
    Malformed(DecodeError),
    /// The answer of a call cannot go where the call says.
    #[error("the reply topic is not valid: leave it empty where no reply is wanted")]
    ReplyTopic {
        /// The call.
        call_id: Id,
        /// The session that calls.
        caller_id: Id,
        /// The codec of the call.
        codec: Codec,
        /// What is wrong with the name.
        source: InvalidName,
    },
}

impl From<rmp_serde::decode::Error> for EnvelopeError {
    fn from(error: rmp_serde::decode::Error) -> Self {
        Self::Malformed(DecodeError::new("", error.to_string()))
    }
}

impl From<serde_json::Error> for EnvelopeError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(DecodeError::new("", error.to_string()))
    }
}

/// Which codec's envelope a body is.
pub(super) fn sniff(body: &[u8]) -> Result<Codec, EnvelopeError> {
    Codec::sniff(body).ok_or(EnvelopeError::Unknown)
}

/// Bytes of JSON as the text that they are.
pub(super) fn json_text(bytes: &[u8]) -> Result<&str, super::EncodeError> {
    std::str::from_utf8(bytes).map_err(super::EncodeError::new)
}

/// The JSON inside the `payload` of a JSON envelope.
///
/// The Python package writes a string that holds JSON. Where a handler returned raw bytes the string is no JSON, and
/// then the string itself is the value; its schema replies hold an object instead of a string.
pub(super) fn json_payload(raw: &RawValue) -> Result<Bytes, EnvelopeError> {
    let outer = raw.get();
    if !outer.starts_with('"') {
        return Ok(Bytes::copy_from_slice(outer.as_bytes()));
    }
    let inner: Cow<'_, str> = serde_json::from_str::<BorrowedText<'_>>(outer)?.0;
    if serde_json::from_str::<de::IgnoredAny>(&inner).is_ok() {
        return Ok(Bytes::from(inner.into_owned()));
    }
    Ok(Bytes::copy_from_slice(outer.as_bytes()))
}

/// A text that is borrowed where it has no escapes.
#[derive(Serialize, Deserialize)]
pub(super) struct BorrowedText<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);
