//! The body of an event: the bare payload, or an envelope where headers must travel with it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    codec::{Codec, EncodeError},
    elements::Elements,
    envelope::{self, EnvelopeError},
    headers::Headers,
    payload::Payload,
    scratch,
};

/// What begins a MessagePack envelope, behind the byte that says how many elements there are.
const MARK: &[u8] = b"\xadalmanet.event";

/// The same text as an element.
const NAME: &str = "almanet.event";

/// How a JSON envelope begins, as it is written here.
const JSON_MARK: &[u8] = b"{\"almanet.event\":";

/// An event as it travels: its payload, and headers if it has any.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventBody {
    /// What travels beside the payload. Without any, the body is the bare payload.
    pub headers: Headers,
    /// The payload. Its bytes are whatever was published, also where they are no value of any codec.
    pub payload: Payload,
}

impl EventBody {
    /// An event with these headers.
    pub fn new(headers: Headers, payload: Payload) -> Self {
        Self { headers, payload }
    }

    /// The body of the message: the bare payload when there are no headers; else an envelope, in JSON when the payload
    /// is that, and in MessagePack otherwise.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the envelope cannot be written.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        if self.headers.is_empty() {
            return Ok(self.payload.bytes().clone());
        }
        if self.payload.codec() == Codec::Json
            && let Ok(payload) = serde_json::from_slice::<&RawValue>(self.payload.bytes())
        {
            return scratch::collect(|buffer| {
                let envelope = JsonOut {
                    version: envelope::VERSION,
                    headers: &self.headers,
                    payload,
                };
                serde_json::to_writer(buffer, &envelope).map_err(EncodeError::new)
            });
        }
        scratch::collect(|buffer| {
            let payload = serde_bytes::Bytes::new(self.payload.bytes());
            rmp_serde::encode::write(buffer, &(NAME, envelope::VERSION, &self.headers, payload))
                .map_err(EncodeError::new)
        })
    }

    /// Reads a body. One that does not begin like an envelope is a bare payload; `default` is the codec of one that
    /// does not tell its own.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] when it begins like an envelope and is none.
    pub fn decode(body: &Bytes, default: Codec) -> Result<Self, EnvelopeError> {
        let enveloped = Self::enveloped(body, default)?;
        Ok(enveloped.unwrap_or_else(|| {
            let payload = Payload::from_bytes(payload_codec(body, default), body.clone());
            Self::new(Headers::new(), payload)
        }))
    }

    /// What is in the envelope; `None` where the whole body is the payload.
    pub(crate) fn enveloped(body: &Bytes, default: Codec) -> Result<Option<Self>, EnvelopeError> {
        let (headers, bytes) = if is_packed_envelope(body) {
            let mut elements = Elements::without_version(body)?;
            elements.text("name")?;
            elements.version()?;
            let headers = elements.headers("headers")?;
            let payload = body.slice_ref(elements.bytes("payload")?);
            elements.end()?;
            (headers, payload)
        } else if body.starts_with(JSON_MARK) {
            let envelope: JsonIn<'_> = serde_json::from_slice(body)?;
            if envelope.version != envelope::VERSION {
                let version = envelope.version;
                return Err(EnvelopeError::Version { version });
            }
            (
                envelope.headers,
                body.slice_ref(envelope.payload.get().as_bytes()),
            )
        } else {
            return Ok(None);
        };
        let payload = Payload::from_bytes(payload_codec(&bytes, default), bytes);
        Ok(Some(Self { headers, payload }))
    }
}

/// The codec of a payload. A lone byte can be a value of either: it is taken for the reader's own.
pub(crate) fn payload_codec(payload: &[u8], default: Codec) -> Codec {
    Codec::sniff(payload).unwrap_or(default)
}

/// An array of four elements or more (later versions may add some) that begins with the mark.
fn is_packed_envelope(body: &[u8]) -> bool {
    matches!(body, [0x94..=0x9f, rest @ ..] if rest.starts_with(MARK))
}

#[derive(Serialize)]
struct JsonOut<'a> {
    #[serde(rename = "almanet.event")]
    version: u8,
    headers: &'a Headers,
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct JsonIn<'a> {
    #[serde(rename = "almanet.event")]
    version: u8,
    headers: Headers,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers() -> Headers {
        let mut headers = Headers::new();
        headers.insert("trace", "1");
        headers
    }

    #[test]
    fn without_headers_the_body_is_the_payload() {
        let payload = Payload::encode(Codec::Json, "Aidar").unwrap();
        let body = EventBody::new(Headers::new(), payload.clone()).encode().unwrap();
        assert_eq!(&body[..], b"\"Aidar\"");
        assert_eq!(
            EventBody::decode(&body, Codec::MessagePack).unwrap().payload,
            payload
        );
    }

    #[test]
    fn headers_travel_in_an_envelope_of_the_payloads_codec() {
        for (codec, expected) in [
            (
                Codec::Json,
                &b"{\"almanet.event\":1,\"headers\":{\"trace\":\"1\"},\"payload\":\"Aidar\"}"[..],
            ),
            (
                Codec::MessagePack,
                b"\x94\xadalmanet.event\x01\x81\xa5trace\xa11\xc4\x06\xa5Aidar",
            ),
        ] {
            let event = EventBody::new(headers(), Payload::encode(codec, "Aidar").unwrap());
            let body = event.encode().unwrap();
            assert_eq!(&body[..], expected);
            assert_eq!(EventBody::decode(&body, Codec::MessagePack).unwrap(), event);
        }
    }

    #[test]
    fn bytes_that_are_no_value_travel_as_they_are() {
        let broken = Payload::from_bytes(Codec::Json, Bytes::from_static(b"{\"name\": "));
        let body = EventBody::new(headers(), broken.clone()).encode().unwrap();
        assert_eq!(
            EventBody::decode(&body, Codec::Json).unwrap().payload.bytes(),
            broken.bytes()
        );
    }

    #[test]
    fn a_later_version_is_refused_and_later_elements_are_passed_over() {
        let mut body = b"\x94\xadalmanet.event\x02\x80\xc4\x00".to_vec();
        assert!(EventBody::decode(&body.clone().into(), Codec::Json).is_err());
        body[15] = 1;
        body[0] = 0x95;
        body.push(0xc0);
        assert!(EventBody::decode(&body.into(), Codec::Json).is_ok());
        let json = Bytes::from_static(b"{\"almanet.event\":2,\"headers\":{},\"payload\":1}");
        assert_eq!(
            EventBody::decode(&json, Codec::Json).unwrap_err(),
            EnvelopeError::Version { version: 2 }
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_an_error_or_a_body(bytes: Vec<u8>, marked: bool) {
            let mut body = if marked { b"\x94\xadalmanet.event".to_vec() } else { Vec::new() };
            body.extend(bytes);
            let _ = EventBody::decode(&body.into(), Codec::Json);
        }
    }
}
