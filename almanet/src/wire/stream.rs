//! What travels while a stream does: items from the service, credit from the caller.

use bytes::Bytes;

use super::{
    codec::{Codec, DecodeError, EncodeError},
    elements::{self, Elements},
    envelope::EnvelopeError,
    payload::Payload,
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
        let items = u32::try_from(self.items.len()).map_err(EncodeError::new)?;
        elements::write(9, |envelope| {
            envelope.text(ITEMS)?;
            envelope.id(self.call_id)?;
            envelope.id(self.session_id)?;
            envelope.id(self.run)?;
            envelope.number(self.attempt.into())?;
            envelope.number(self.first)?;
            envelope.array(items)?;
            for item in &self.items {
                envelope.bytes(item)?;
            }
            match &self.end {
                None => envelope.nil(),
                Some(end) => {
                    envelope.array(2)?;
                    envelope.optional_text(end.name.as_deref())?;
                    envelope.bytes(&end.payload)
                }
            }
        })
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
        let mut elements = of_kind(ITEMS, body)?;
        let mut read = Self {
            call_id: elements.id("call_id")?,
            session_id: elements.id("session_id")?,
            run: elements.id("run")?,
            attempt: elements.number("attempt")?,
            first: elements.number("first")?,
            items: Vec::new(),
            end: None,
        };
        for _ in 0..elements.array("items")?.unwrap_or_default() {
            read.items.push(body.slice_ref(elements.bytes("items")?));
        }
        if let Some(count) = elements.array("end")? {
            read.end = Some(StreamEnd {
                name: elements.optional_text("end")?.map(str::to_owned),
                payload: body.slice_ref(elements.bytes("end")?),
            });
            elements.skip(count.saturating_sub(2))?;
        }
        elements.end()?;
        Ok(read)
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
        elements::write(6, |envelope| {
            envelope.text(CREDIT)?;
            envelope.id(self.call_id)?;
            envelope.id(self.session_id)?;
            envelope.id(self.run)?;
            envelope.optional_number(self.up_to)
        })
    }

    /// Reads the body of a message.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] when the body is something else.
    pub fn decode(body: &Bytes) -> Result<Self, EnvelopeError> {
        let mut elements = of_kind(CREDIT, body)?;
        let credit = Self::new(
            elements.id("call_id")?,
            elements.id("session_id")?,
            elements.id("run")?,
            elements.optional_number("up_to")?,
        );
        elements.end()?;
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

/// The elements behind the kind, which must be this one.
fn of_kind<'a>(expected: &'static str, body: &'a [u8]) -> Result<Elements<'a>, EnvelopeError> {
    let mut elements = Elements::read(body)?;
    if elements.text("kind")? == expected {
        return Ok(elements);
    }
    let reason = format!("it is not {expected:?}");
    Err(EnvelopeError::Malformed(DecodeError::new("kind", reason)))
}
