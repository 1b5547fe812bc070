//! What a caller and the instance that runs its call tell each other beside the invocation and the reply.

use bytes::Bytes;
use serde::Deserialize;

use super::{
    codec::EncodeError,
    envelope::{self, EnvelopeError},
    scratch,
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
        let envelope = (envelope::VERSION, self.kind.name(), self.call_id, self.session_id);
        scratch::collect(|buffer| rmp_serde::encode::write(buffer, &envelope).map_err(EncodeError::new))
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
        let Parts(control) = rmp_serde::from_slice(body)?;
        Ok(control)
    }
}

/// The message, if it is of a kind that is known.
struct Parts(Option<Control>);

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Parts;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a control message: an array that begins with the version and a name")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<Parts, A::Error> {
                envelope::version(&mut elements)?;
                let name: &str = envelope::element(&mut elements, "kind")?;
                let control = match ControlKind::ALL.into_iter().find(|kind| kind.name() == name) {
                    Some(kind) => Some(Control::new(
                        kind,
                        envelope::element(&mut elements, "call_id")?,
                        envelope::element(&mut elements, "session_id")?,
                    )),
                    None => None,
                };
                envelope::skip_rest(&mut elements)?;
                Ok(Parts(control))
            }
        }

        deserializer.deserialize_seq(Visitor)
    }
}
