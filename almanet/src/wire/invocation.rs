//! The envelope of a call.

use std::{cell::RefCell, time::Duration};

use almanet_nsq::{InvalidName, TopicName};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    codec::{Codec, EncodeError},
    elements::{self, Elements},
    envelope::{self, EnvelopeError},
    expires::Expires,
    headers::Headers,
    payload::Payload,
};
use crate::{id::Id, recent::Recent};

/// A call on its way to a procedure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invocation {
    /// The name of the call.
    pub id: Id,
    /// The session that calls.
    pub caller_id: Id,
    /// Where the reply goes; `None` when no reply is wanted. The topic of a procedure has that one called with the value
    /// ([`OneWayCall::reply_to`](crate::OneWayCall::reply_to)).
    pub reply_topic: Option<TopicName>,
    /// How long the caller waits, counted from when the message was published; `None` when it does not say.
    pub timeout: Option<Duration>,
    /// Whether the caller takes [`Control`](super::Control) messages on its reply topic. All who write MessagePack do.
    pub takes_control: bool,
    /// What travels beside the payload.
    pub headers: Headers,
    /// The argument. Its codec is that of the envelope.
    pub payload: Payload,
}

impl Invocation {
    /// A call with this payload: from `caller_id`, with a new id, without a reply, a timeout and headers, by a caller
    /// that takes control messages.
    pub fn new(caller_id: Id, payload: Payload) -> Self {
        let (id, headers) = (Id::random(), Headers::new());
        Self {
            id,
            caller_id,
            reply_topic: None,
            timeout: None,
            takes_control: true,
            headers,
            payload,
        }
    }

    /// The body of the message, in the codec of the payload.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when a JSON payload is no JSON.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let reply_topic = self.reply_topic.as_ref().map_or("", TopicName::as_str);
        let timeout_ms = self
            .timeout
            .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        match self.payload.codec() {
            Codec::MessagePack => elements::write(7, |envelope| {
                envelope.id(self.id)?;
                envelope.id(self.caller_id)?;
                envelope.text(reply_topic)?;
                envelope.optional_number(timeout_ms)?;
                envelope.headers(&self.headers)?;
                envelope.bytes(self.payload.bytes())
            }),
            Codec::Json => Codec::Json.encode(&JsonInvocation {
                id: self.id,
                caller_id: self.caller_id,
                payload: envelope::json_text(self.payload.bytes())?,
                reply_topic,
                expires: Expires(self.timeout),
                timeout_ms,
                control: self.takes_control,
                headers: (!self.headers.is_empty()).then_some(&self.headers),
            }),
        }
    }

    /// Reads the body of a message. The payload shares its memory where the codec allows (MessagePack).
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] when the body is no invocation.
    pub fn decode(body: &Bytes) -> Result<Self, EnvelopeError> {
        match envelope::sniff(body)? {
            Codec::MessagePack => {
                let mut elements = Elements::read(body)?;
                let (id, caller_id) = (elements.id("id")?, elements.id("caller_id")?);
                let reply_topic = elements.text("reply_topic")?;
                let timeout_ms = elements.optional_number("timeout_ms")?;
                let headers = elements.headers("headers")?;
                let payload = body.slice_ref(elements.bytes("payload")?);
                let payload = Payload::from_bytes(Codec::MessagePack, payload);
                elements.end()?;
                Self::assemble(id, caller_id, reply_topic, timeout_ms, true, headers, payload)
            }
            Codec::Json => {
                let parts: JsonInvocation<&RawValue, String, Headers> = serde_json::from_slice(body)?;
                let payload = Payload::from_bytes(Codec::Json, envelope::json_payload(parts.payload)?);
                let timeout_ms = parts.timeout_ms.or_else(|| parts.expiry_ms());
                let headers = parts.headers.unwrap_or_default();
                Self::assemble(
                    parts.id,
                    parts.caller_id,
                    &parts.reply_topic,
                    timeout_ms,
                    parts.control,
                    headers,
                    payload,
                )
            }
        }
    }

    fn assemble(
        id: Id,
        caller_id: Id,
        reply_topic: &str,
        timeout_ms: Option<u64>,
        takes_control: bool,
        headers: Headers,
        payload: Payload,
    ) -> Result<Self, EnvelopeError> {
        let reply_topic = match reply_topic {
            "" => None,
            name => Some(topic(name).map_err(|source| EnvelopeError::ReplyTopic {
                call_id: id,
                caller_id,
                codec: payload.codec(),
                source,
            })?),
        };
        let timeout = timeout_ms.map(Duration::from_millis);
        Ok(Self {
            id,
            caller_id,
            reply_topic,
            timeout,
            takes_control,
            headers,
            payload,
        })
    }
}

/// The topic of this name.
fn topic(name: &str) -> Result<TopicName, InvalidName> {
    thread_local! {
        static RECENT: RefCell<Recent<TopicName>> = RefCell::new(Recent::new());
    }
    RECENT.with_borrow_mut(|recent| recent.get_or_make(name, |name| TopicName::new(name)))
}

/// The JSON envelope; the first five keys are the Python package's.
#[derive(Serialize, Deserialize)]
struct JsonInvocation<P, T, H> {
    id: Id,
    caller_id: Id,
    payload: P,
    reply_topic: T,
    #[serde(default)]
    expires: Expires,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    /// Whether the caller takes control messages. The Python package does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    control: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<H>,
}

impl<P, H> JsonInvocation<P, String, H> {
    /// How long the caller waits, as the Python package says it.
    ///
    /// Nobody waits for a call that wants no reply: the package writes 60 seconds there, however long it defers the call.
    fn expiry_ms(&self) -> Option<u64> {
        let Expires(timeout) = self.expires;
        let timeout = timeout.filter(|_| !self.reply_topic.is_empty())?;
        u64::try_from(timeout.as_millis()).ok()
    }
}
