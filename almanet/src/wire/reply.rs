//! The envelope of an answer.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    codec::{Codec, EncodeError},
    elements::{self, Elements},
    envelope::{self, EnvelopeError},
    payload::Payload,
};
use crate::{error::RemoteError, id::Id};

/// The answer to a call: a value or an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// The call that is answered.
    pub call_id: Id,
    /// What the procedure returned. The codec is that of the envelope.
    pub outcome: Result<Payload, RemoteError>,
    /// The start of a service that answers ([`Instance::id`](crate::Instance::id)), where the caller asks.
    pub responder: Option<Id>,
}

impl Reply {
    /// The answer to the call `call_id`.
    pub fn new(call_id: Id, outcome: Result<Payload, RemoteError>) -> Self {
        Self {
            call_id,
            outcome,
            responder: None,
        }
    }

    /// The body of the message, in the codec of the payload.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when a JSON payload is no JSON.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let (name, payload) = match &self.outcome {
            Ok(payload) => (None, payload),
            Err(error) => (Some(error.name()), error.payload()),
        };
        match payload.codec() {
            Codec::MessagePack => {
                let elements = if self.responder.is_some() { 5 } else { 4 };
                elements::write(elements, |envelope| {
                    envelope.id(self.call_id)?;
                    envelope.optional_text(name)?;
                    envelope.bytes(payload.bytes())?;
                    self.responder.map_or(Ok(()), |responder| envelope.id(responder))
                })
            }
            Codec::Json => {
                let text = envelope::json_text(payload.bytes())?;
                let exception;
                let payload = match name {
                    None => text,
                    Some(name) => {
                        exception = serde_json::to_string(&JsonException { name, payload: text })
                            .map_err(EncodeError::new)?;
                        &exception
                    }
                };
                Codec::Json.encode(&JsonReply {
                    call_id: self.call_id,
                    is_exception: name.is_some(),
                    payload,
                    responder: self.responder,
                })
            }
        }
    }

    /// Reads the body of a message. The payload shares its memory where the codec allows (MessagePack).
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] when the body is no reply.
    pub fn decode(body: &Bytes) -> Result<Self, EnvelopeError> {
        match envelope::sniff(body)? {
            Codec::MessagePack => {
                let mut elements = Elements::read(body)?;
                let call_id = elements.id("call_id")?;
                // A name makes it an error.
                let name = elements.optional_text("name")?;
                let payload = body.slice_ref(elements.bytes("payload")?);
                let payload = Payload::from_bytes(Codec::MessagePack, payload);
                let responder = elements.optional_id("responder")?;
                elements.end()?;
                let outcome = match name {
                    None => Ok(payload),
                    Some(name) => Err(RemoteError::new(name, payload)),
                };
                Ok(Self {
                    call_id,
                    outcome,
                    responder,
                })
            }
            Codec::Json => {
                let parts: JsonReply<&RawValue> = serde_json::from_slice(body)?;
                let payload = envelope::json_payload(parts.payload)?;
                let outcome = if parts.is_exception {
                    let exception: JsonException<String, Box<RawValue>> = serde_json::from_slice(&payload)?;
                    let inner = envelope::json_payload(&exception.payload)?;
                    Err(RemoteError::new(
                        exception.name,
                        Payload::from_bytes(Codec::Json, inner),
                    ))
                } else {
                    Ok(Payload::from_bytes(Codec::Json, payload))
                };
                Ok(Self {
                    call_id: parts.call_id,
                    outcome,
                    responder: parts.responder,
                })
            }
        }
    }
}

/// The JSON envelope, as the Python package writes it.
#[derive(Serialize, Deserialize)]
struct JsonReply<P> {
    call_id: Id,
    is_exception: bool,
    payload: P,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    responder: Option<Id>,
}

/// What the `payload` of an exception holds.
#[derive(Serialize, Deserialize)]
struct JsonException<N, P> {
    name: N,
    payload: P,
}
