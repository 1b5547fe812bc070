//! What can be wrong with bytes from a peer, and nsqd's error codes.

use std::{fmt, io};

use crate::message::MessageHead;

/// An error code of nsqd, as it begins the text of an error frame.
///
/// Source: nsqd's `protocol_v2.go` and the TCP protocol specification.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `E_INVALID`: the command is unknown, malformed or not allowed in this state.
    Invalid,
    /// `E_BAD_BODY`: the body of IDENTIFY, AUTH or MPUB is not usable.
    BadBody,
    /// `E_BAD_TOPIC`: the topic name is not valid.
    BadTopic,
    /// `E_BAD_CHANNEL`: the channel name is not valid.
    BadChannel,
    /// `E_BAD_MESSAGE`: a message is empty or larger than the broker allows.
    BadMessage,
    /// `E_IDENTIFY_FAILED`: the features that were asked for cannot be had together.
    IdentifyFailed,
    /// `E_SUB_FAILED`: the channel takes no further subscriber.
    SubFailed,
    /// `E_PUB_FAILED`: the broker could not take the message in.
    PubFailed,
    /// `E_MPUB_FAILED`: the broker could not take the messages in.
    MpubFailed,
    /// `E_DPUB_FAILED`: the broker could not take the deferred message in.
    DpubFailed,
    /// `E_FIN_FAILED`: the message is not in flight on this connection.
    FinFailed,
    /// `E_REQ_FAILED`: the message is not in flight on this connection.
    ReqFailed,
    /// `E_TOUCH_FAILED`: the message is not in flight on this connection.
    TouchFailed,
    /// `E_AUTH_FAILED`: the broker could not check the secret.
    AuthFailed,
    /// `E_AUTH_DISABLED`: the broker asks for no AUTH.
    AuthDisabled,
    /// `E_AUTH_FIRST`: the command needs an AUTH before it.
    AuthFirst,
    /// `E_AUTH_ERROR`: the answer to AUTH could not be made.
    AuthError,
    /// `E_UNAUTHORIZED`: the secret does not allow this.
    Unauthorized,
    /// A code that this version of the crate does not know.
    Other(String),
}

impl ErrorCode {
    /// The code as it stands in the frame.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Invalid => "E_INVALID",
            Self::BadBody => "E_BAD_BODY",
            Self::BadTopic => "E_BAD_TOPIC",
            Self::BadChannel => "E_BAD_CHANNEL",
            Self::BadMessage => "E_BAD_MESSAGE",
            Self::IdentifyFailed => "E_IDENTIFY_FAILED",
            Self::SubFailed => "E_SUB_FAILED",
            Self::PubFailed => "E_PUB_FAILED",
            Self::MpubFailed => "E_MPUB_FAILED",
            Self::DpubFailed => "E_DPUB_FAILED",
            Self::FinFailed => "E_FIN_FAILED",
            Self::ReqFailed => "E_REQ_FAILED",
            Self::TouchFailed => "E_TOUCH_FAILED",
            Self::AuthFailed => "E_AUTH_FAILED",
            Self::AuthDisabled => "E_AUTH_DISABLED",
            Self::AuthFirst => "E_AUTH_FIRST",
            Self::AuthError => "E_AUTH_ERROR",
            Self::Unauthorized => "E_UNAUTHORIZED",
            Self::Other(code) => code,
        }
    }

    /// Whether the broker closes the connection after it.
    ///
    /// All but `E_FIN_FAILED`, `E_REQ_FAILED` and `E_TOUCH_FAILED` are fatal in nsqd.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::FinFailed | Self::ReqFailed | Self::TouchFailed)
    }
}

impl From<&str> for ErrorCode {
    fn from(code: &str) -> Self {
        match code {
            "E_INVALID" => Self::Invalid,
            "E_BAD_BODY" => Self::BadBody,
            "E_BAD_TOPIC" => Self::BadTopic,
            "E_BAD_CHANNEL" => Self::BadChannel,
            "E_BAD_MESSAGE" => Self::BadMessage,
            "E_IDENTIFY_FAILED" => Self::IdentifyFailed,
            "E_SUB_FAILED" => Self::SubFailed,
            "E_PUB_FAILED" => Self::PubFailed,
            "E_MPUB_FAILED" => Self::MpubFailed,
            "E_DPUB_FAILED" => Self::DpubFailed,
            "E_FIN_FAILED" => Self::FinFailed,
            "E_REQ_FAILED" => Self::ReqFailed,
            "E_TOUCH_FAILED" => Self::TouchFailed,
            "E_AUTH_FAILED" => Self::AuthFailed,
            "E_AUTH_DISABLED" => Self::AuthDisabled,
            "E_AUTH_FIRST" => Self::AuthFirst,
            "E_AUTH_ERROR" => Self::AuthError,
            "E_UNAUTHORIZED" => Self::Unauthorized,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal, as a broker puts it into an error frame: a code and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} {description}")]
pub struct ProtocolError {
    /// What kind of refusal it is, and whether it ends the connection.
    pub code: ErrorCode,
    /// What was refused, in the broker's words. Can be empty.
    pub description: String,
}

impl ProtocolError {
    /// A refusal with this code and sentence.
    pub fn new(code: ErrorCode, description: impl Into<String>) -> Self {
        Self {
            code,
            description: description.into(),
        }
    }

    /// Whether the broker closes the connection after it.
    pub fn is_fatal(&self) -> bool {
        self.code.is_fatal()
    }

    /// Reads the text of an error frame.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let (code, description) = text.split_once(' ').unwrap_or((&text, ""));
        Self::new(ErrorCode::from(code), description)
    }
}

/// Bytes that are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The announced size is below the four bytes of the type, or above the limit of what is no message.
    #[error(
        "frame size {size} is out of range 4-{limit}: the peer does not speak NSQ, or its messages are larger than the configured limit"
    )]
    Size {
        /// The announced size in bytes, the type included.
        size: i32,
        /// The most bytes that this decoder takes.
        limit: usize,
    },
    /// A message is larger than the limit. Its body is passed over, and decoding can go on behind it.
    #[error(
        "message {} has a body of {size} bytes, and frames are limited to {limit}: raise the limit to the broker's own",
        head.id
    )]
    MessageTooLarge {
        /// What came before the body, by which the message can be answered.
        head: MessageHead,
        /// The size of the body in bytes.
        size: usize,
        /// The most bytes of a frame that this decoder takes.
        limit: usize,
    },
    /// The frame type is neither response (0), error (1) nor message (2).
    #[error("frame type {kind} is unknown: NSQ has 0 (response), 1 (error) and 2 (message)")]
    Type {
        /// The type that was received.
        kind: i32,
    },
    /// A message frame is too short to hold a timestamp, a count of attempts and an id.
    #[error(
        "message frame has {size} bytes: a message has at least {}",
        crate::message::HEADER_LENGTH
    )]
    ShortMessage {
        /// The size of the frame's data in bytes.
        size: usize,
    },
}

/// Why a [`ClientCodec`](crate::ClientCodec) or [`ServerCodec`](crate::ServerCodec) stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The connection failed.
    #[error("connection failed")]
    Io(#[from] io::Error),
    /// The broker sent bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The client sent bytes that are no command; the error is the answer it should get.
    #[error(transparent)]
    Command(#[from] ProtocolError),
}
