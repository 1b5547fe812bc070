//! The envelope of an answer.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;

use super::{
    codec::{Codec, EncodeError},
    envelope::{self, EnvelopeError},
    payload::Payload,
    scratch,
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
                let bytes = serde_bytes::Bytes::new(payload.bytes());
                let envelope = (envelope::VERSION, self.call_id, name, bytes);
                scratch::collect(|buffer| {
                    match self.responder {
                        None => rmp_serde::encode::write(buffer, &envelope),
                        Some(responder) => {
                            let (version, call_id, name, bytes) = envelope;
                            rmp_serde::encode::write(buffer, &(version, call_id, name, bytes, responder))
                        }
                    }
                    .map_err(EncodeError::new)
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
                let parts: Parts<'_> = rmp_serde::from_slice(body)?;
                let payload = Payload::from_bytes(Codec::MessagePack, body.slice_ref(parts.payload));
                let outcome = match parts.name {
                    None => Ok(payload),
                    Some(name) => Err(RemoteError::new(name, payload)),
                };
                Ok(Self {
                    call_id: parts.call_id,
                    outcome,
                    responder: parts.responder,
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

/// The elements of the MessagePack envelope, borrowed from the body. A name makes it an error.
struct Parts<'a> {
    call_id: Id,
    name: Option<&'a str>,
    payload: &'a [u8],
    responder: Option<Id>,
}

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Parts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a reply: an array that begins with the version")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut elements: A) -> Result<Parts<'de>, A::Error> {
                envelope::version(&mut elements)?;
                let parts = Parts {
                    call_id: envelope::element(&mut elements, "call_id")?,
                    name: envelope::element(&mut elements, "name")?,
                    payload: envelope::element(&mut elements, "payload")?,
                    responder: elements.next_element::<Option<Id>>()?.flatten(),
                };
                envelope::skip_rest(&mut elements)?;
                Ok(parts)
            }
        }

        deserializer.deserialize_seq(Visitor)
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
