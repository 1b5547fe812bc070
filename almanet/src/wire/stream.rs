//! What travels while a stream does: items from the service, credit from the caller.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, de};

use super::{
    codec::{Codec, EncodeError},
    envelope::{self, EnvelopeError},
    payload::Payload,
    scratch,
};
use crate::{error::RemoteError, id::Id};

/// Items of a stream on their way to the caller, with the end of it if this is the end. Without either, it says that
/// the stream is alive. Always in MessagePack; the items themselves are in the codec of the call.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamItems {
    /// The call that asked for the stream.
    pub call_id: Id,
    /// The session that sends them, to whose reply topic credit goes.
    pub session_id: Id,
    /// The run of the procedure that the items are of. A call that is delivered again has several, which may differ in
    /// what they send.
    pub run: Id,
    /// How often the call had been delivered when the run began.
    pub attempt: u16,
    /// The number of the first item, from 0; without items, how many have been sent.
    pub first: u64,
    /// The items, each in the codec of the call.
    pub items: Vec<Bytes>,
    /// The end, behind the items.
    pub end: Option<StreamEnd>,
}

/// How a stream ended.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamEnd {
    /// The name of the error that it failed with; `None` when all items were sent.
    pub name: Option<String>,
    /// What the error says beside its name, in the codec of the call.
    pub payload: Bytes,
}

/// What a caller lets the service send, and its sign of life; always in MessagePack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamCredit {
    /// The call that asked for the stream.
    pub call_id: Id,
    /// The session that calls.
    pub session_id: Id,
    /// The run that it is for.
    pub run: Id,
    /// How many items may have been sent in all; `None` says that nobody reads this run of the procedure.
    pub up_to: Option<u64>,
}

/// A message about a stream.
#[derive(Debug)]
pub(crate) enum StreamMessage {
    Items(StreamItems),
    Credit(StreamCredit),
}

const ITEMS: &str = "items";
const CREDIT: &str = "credit";

impl StreamItems {
    /// A message of the run `run` that answers the call `call_id`, from `session_id`: of the first attempt, without items.
    pub fn new(call_id: Id, session_id: Id, run: Id) -> Self {
        Self {
            call_id,
            session_id,
            run,
            attempt: 1,
            first: 0,
            items: Vec::new(),
            end: None,
        }
    }

    /// The body of the message.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] never comes in practice: all that is written are bytes, numbers and short texts.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let items = self.items.iter().map(|item| serde_bytes::Bytes::new(item));
        let items: Vec<&serde_bytes::Bytes> = items.collect();
        let end = self.end.as_ref();
        let end = end.map(|end| (&end.name, serde_bytes::Bytes::new(&end.payload)));
        let envelope = (
            envelope::VERSION,
            ITEMS,
            self.call_id,
            self.session_id,
            self.run,
            self.attempt,
            self.first,
            items,
            end,
        );
        scratch::collect(|buffer| rmp_serde::encode::write(buffer, &envelope).map_err(EncodeError::new))
    }

    /// Whether the body is such a message.
    pub fn sniff(body: &[u8]) -> bool {
        kind(body) == Some(ITEMS.as_bytes())
    }

    /// Reads the body of a message. The items share its memory.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] when the body is something else.
    pub fn decode(body: &Bytes) -> Result<Self, EnvelopeError> {
        let parts: Parts<'_> = rmp_serde::from_slice(body)?;
        Ok(Self {
            call_id: parts.call_id,
            session_id: parts.session_id,
            run: parts.run,
            attempt: parts.attempt,
            first: parts.first,
            items: parts.items.into_iter().map(|item| body.slice_ref(item)).collect(),
            end: parts.end.map(|(name, payload)| StreamEnd {
                name: name.map(str::to_owned),
                payload: body.slice_ref(payload),
            }),
        })
    }
}

/// Shows how many items there are: they are the user's own.
impl std::fmt::Debug for StreamItems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamItems")
            .field("call_id", &self.call_id)
            .field("session_id", &self.session_id)
            .field("run", &self.run)
            .field("attempt", &self.attempt)
            .field("first", &self.first)
            .field("items", &self.items.len())
            .field("end", &self.end)
            .finish()
    }
}

impl StreamEnd {
    /// The end after all items, or the error that ends the stream.
    pub fn new(outcome: Result<(), RemoteError>) -> Self {
        match outcome {
            Ok(()) => Self {
                name: None,
                payload: Bytes::new(),
            },
            Err(error) => Self {
                name: Some(error.name().to_owned()),
                payload: error.payload().bytes().clone(),
            },
        }
    }

    /// How the stream of a call in `codec` ended.
    ///
    /// # Errors
    ///
    /// The error that the stream failed with.
    pub fn into_result(self, codec: Codec) -> Result<(), RemoteError> {
        match self.name {
            None => Ok(()),
            Some(name) => Err(RemoteError::new(name, Payload::from_bytes(codec, self.payload))),
        }
    }
}

/// Shows the size only of what the error says: it is the user's own.
impl std::fmt::Debug for StreamEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamEnd({:?}, {} bytes)", self.name, self.payload.len())
    }
}

impl StreamCredit {
    /// Lets the run `run` of the call `call_id` send `up_to` items in all; from the caller `session_id`.
    pub fn new(call_id: Id, session_id: Id, run: Id, up_to: Option<u64>) -> Self {
        Self {
            call_id,
            session_id,
            run,
            up_to,
        }
    }

    /// The body of the message.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] never comes in practice: all that is written are bytes, numbers and a short text.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let envelope = (
            envelope::VERSION,
            CREDIT,
            self.call_id,
            self.session_id,
            self.run,
            self.up_to,
        );
        scratch::collect(|buffer| rmp_serde::encode::write(buffer, &envelope).map_err(EncodeError::new))
    }

    /// Reads the body of a message.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] when the body is something else.
    pub fn decode(body: &Bytes) -> Result<Self, EnvelopeError> {
        let CreditParts(credit) = rmp_serde::from_slice(body)?;
        Ok(credit)
    }
}

impl StreamMessage {
    /// Reads the body of a message if it is about a stream.
    pub(crate) fn decode(body: &Bytes) -> Option<Result<Self, EnvelopeError>> {
        let kind = kind(body)?;
        if kind == ITEMS.as_bytes() {
            Some(StreamItems::decode(body).map(Self::Items))
        } else if kind == CREDIT.as_bytes() {
            Some(StreamCredit::decode(body).map(Self::Credit))
        } else {
            None
        }
    }
}

/// The kind of a control message: the second element of an array, when it is a short text.
fn kind(body: &[u8]) -> Option<&[u8]> {
    let [0x90..=0x9f, 0x00..=0x7f, length @ 0xa0..=0xbf, rest @ ..] = body else {
        return None;
    };
    rest.get(..usize::from(length - 0xa0))
}

/// The elements of the envelope of items, borrowed from the body.
struct Parts<'a> {
    call_id: Id,
    session_id: Id,
    run: Id,
    attempt: u16,
    first: u64,
    items: Vec<&'a serde_bytes::Bytes>,
    end: Option<(Option<&'a str>, &'a serde_bytes::Bytes)>,
}

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Parts<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("items of a stream: an array that begins with the version and a name")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut elements: A) -> Result<Parts<'de>, A::Error> {
                envelope::version(&mut elements)?;
                expect_kind(&mut elements, ITEMS)?;
                let parts = Parts {
                    call_id: envelope::element(&mut elements, "call_id")?,
                    session_id: envelope::element(&mut elements, "session_id")?,
                    run: envelope::element(&mut elements, "run")?,
                    attempt: envelope::element(&mut elements, "attempt")?,
                    first: envelope::element(&mut elements, "first")?,
                    items: envelope::element(&mut elements, "items")?,
                    end: envelope::element(&mut elements, "end")?,
                };
                envelope::skip_rest(&mut elements)?;
                Ok(parts)
            }
        }

        deserializer.deserialize_seq(Visitor)
    }
}

struct CreditParts(StreamCredit);

impl<'de> Deserialize<'de> for CreditParts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = CreditParts;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("credit for a stream: an array that begins with the version and a name")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut elements: A) -> Result<CreditParts, A::Error> {
                envelope::version(&mut elements)?;
                expect_kind(&mut elements, CREDIT)?;
                let credit = StreamCredit::new(
                    envelope::element(&mut elements, "call_id")?,
                    envelope::element(&mut elements, "session_id")?,
                    envelope::element(&mut elements, "run")?,
                    envelope::element(&mut elements, "up_to")?,
                );
                envelope::skip_rest(&mut elements)?;
                Ok(CreditParts(credit))
            }
        }

        deserializer.deserialize_seq(Visitor)
    }
}

/// Takes the kind, which must be this one.
fn expect_kind<'de, A: de::SeqAccess<'de>>(elements: &mut A, expected: &'static str) -> Result<(), A::Error> {
    let kind: &str = envelope::element(elements, "kind")?;
    if kind == expected {
        return Ok(());
    }
    Err(de::Error::invalid_value(de::Unexpected::Str(kind), &expected))
}
