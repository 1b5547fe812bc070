//! What travels with the events that go out.

use bytes::Bytes;
use serde::Serialize;

use super::header;
use crate::wire::{Codec, EncodeError, EventBody, Headers, Payload};

/// Makes the bodies of messages. They are bare payloads, unless headers must travel.
#[derive(Debug)]
pub(crate) struct Outgoing {
    codec: Codec,
    headers: Headers,
}

impl Outgoing {
    /// With `headers`, and where there are some with the version of the event's type too.
    pub(crate) fn new(codec: Codec, mut headers: Headers, version: Option<u32>) -> Self {
        if let (Some(version), false) = (version, headers.is_empty()) {
            headers.insert(header::VERSION, version.to_string());
        }
        Self { codec, headers }
    }

    /// The body of the message that carries `payload`.
    pub(crate) fn body(&self, payload: &(impl Serialize + ?Sized)) -> Result<Bytes, EncodeError> {
        if self.headers.is_empty() {
            return self.codec.encode(payload);
        }
        let payload = Payload::encode(self.codec, payload)?;
        EventBody::new(self.headers.clone(), payload).encode()
    }
}
