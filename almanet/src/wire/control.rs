//! What a caller and the instance that runs its call tell each other beside the invocation and the reply.

use bytes::Bytes;

use super::{
    codec::EncodeError,
    elements::{self, Elements},
    envelope::EnvelopeError,
};
use crate::id::Id;

/// A message about a call, sent to the reply topic of a session; always in MessagePack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Control {
    /// What it says.
    pub kind: ControlKind,
    /// The call that it is about.
    pub call_id: Id,
    /// The session that sends it, to whose reply topic the answer goes.
    pub session_id: Id,
}

/// What a [`Control`] message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlKind {
    /// To the caller: the session that sends this runs the call, and the call has taken a while already.
    Running,
    /// To an instance: the caller waits no more.
    Cancel,
    /// To oneself: the broker's timestamp of it tells what the broker's clock says.
    Clock,
}

impl ControlKind {
    const ALL: [Self; 3] = [Self::Running, Self::Cancel, Self::Clock];

    fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Cancel => "cancel",
            Self::Clock => "clock",
        }
    }
}

impl Control {
    /// A message about the call `call_id` from `session_id`.
    pub fn new(kind: ControlKind, call_id: Id, session_id: Id) -> Self {
        Self {
            kind,
            call_id,
            session_id,
        }
    }

    /// The body of the message.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] never comes in practice: all that is written are bytes and a short text.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        elements::write(4, |envelope| {
            envelope.text(self.kind.name())?;
            envelope.id(self.call_id)?;
            envelope.id(self.session_id)
        })
    }

    /// Whether the body is a control message and no reply: an array of at most 15 elements, whose second element is a
    /// text of at most 31 bytes, where a reply has the id of its call.
    pub fn sniff(body: &[u8]) -> bool {
        matches!(body, [0x90..=0x9f, 0x00..=0x7f, 0xa0..=0xbf, ..])
    }

    /// Reads the body of a message; `None` when it is of a kind that a later version has added.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] when the body is no control message.
    pub fn decode(body: &Bytes) -> Result<Option<Self>, EnvelopeError> {
        let mut elements = Elements::read(body)?;
        let name = elements.text("kind")?;
        let Some(kind) = ControlKind::ALL.into_iter().find(|kind| kind.name() == name) else {
            return Ok(None);
        };
        let control = Self::new(kind, elements.id("call_id")?, elements.id("session_id")?);
        elements.end()?;
        Ok(Some(control))
    }
}
