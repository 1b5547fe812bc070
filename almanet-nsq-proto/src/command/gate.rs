//! What a broker has to say about a command before it has read all of it.

use std::fmt;

use crate::{error::ProtocolError, name::TopicName};

/// The first word of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb<'a> {
    /// `IDENTIFY`.
    Identify,
    /// `AUTH`.
    Auth,
    /// `SUB`.
    Sub,
    /// `PUB`.
    Pub,
    /// `MPUB`.
    Mpub,
    /// `DPUB`.
    Dpub,
    /// `RDY`.
    Rdy,
    /// `FIN`.
    Fin,
    /// `REQ`.
    Req,
    /// `TOUCH`.
    Touch,
    /// `CLS`.
    Cls,
    /// `NOP`.
    Nop,
    /// A word that is no command.
    Unknown(&'a [u8]),
}

impl<'a> Verb<'a> {
    pub(super) fn parse(word: &'a [u8]) -> Self {
        match word {
            b"FIN" => Self::Fin,
            b"PUB" => Self::Pub,
            b"MPUB" => Self::Mpub,
            b"RDY" => Self::Rdy,
            b"REQ" => Self::Req,
            b"TOUCH" => Self::Touch,
            b"NOP" => Self::Nop,
            b"DPUB" => Self::Dpub,
            b"SUB" => Self::Sub,
            b"CLS" => Self::Cls,
            b"IDENTIFY" => Self::Identify,
            b"AUTH" => Self::Auth,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for Verb<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identify => "IDENTIFY",
            Self::Auth => "AUTH",
            Self::Sub => "SUB",
            Self::Pub => "PUB",
            Self::Mpub => "MPUB",
            Self::Dpub => "DPUB",
            Self::Rdy => "RDY",
            Self::Fin => "FIN",
            Self::Req => "REQ",
            Self::Touch => "TOUCH",
            Self::Cls => "CLS",
            Self::Nop => "NOP",
            Self::Unknown(word) => return f.write_str(&String::from_utf8_lossy(word)),
        })
    }
}

/// What becomes of a command whose first word was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// The rest of it is read.
    Read,
    /// The rest of the line is passed over, whatever it says; it counts as [`Nop`](super::Command::Nop).
    PassOver,
}

/// What a broker has to say about a command before it has read all of it.
///
/// nsqd looks at the connection's state before it looks at the parameters, and at some permissions before it reads a
/// body. So which refusal a client gets for a command with several faults depends on that order. `()` admits
/// everything.
pub trait Gate {
    /// Whether a command that begins with `verb` may come now.
    ///
    /// # Errors
    ///
    /// The refusal for the client.
    fn admit(&self, verb: Verb<'_>) -> Result<Admission, ProtocolError>;

    /// Whether an MPUB to `topic` may come now, of which the body is still to be read.
    ///
    /// # Errors
    ///
    /// The refusal for the client.
    fn admit_mpub(&self, topic: &TopicName) -> Result<(), ProtocolError>;
}

impl Gate for () {
    fn admit(&self, _verb: Verb<'_>) -> Result<Admission, ProtocolError> {
        Ok(Admission::Read)
    }

    fn admit_mpub(&self, _topic: &TopicName) -> Result<(), ProtocolError> {
        Ok(())
    }
}
