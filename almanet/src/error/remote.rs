//! Errors that travel: raised by a procedure, matched by its caller.

use std::{convert::Infallible, error::Error, fmt};

use crate::{
    service::ErrorSchema,
    wire::{Codec, EncodeError, Payload},
};

// The names of built-in errors are the Python package's, where it has them.
pub(crate) const INVALID_PAYLOAD: &str = "rpc_invalid_payload";
pub(crate) const INVALID_RETURN: &str = "rpc_invalid_return";
pub(crate) const INTERNAL_ERROR: &str = "InternalError";
/// The Python package has no name for these.
pub(crate) const TIMEOUT: &str = "rpc_timeout";
pub(crate) const OVERLOADED: &str = "rpc_overloaded";
pub(crate) const STREAM_ONLY: &str = "rpc_stream_only";
pub(crate) const INTERRUPTED: &str = "rpc_interrupted";

/// An error that a procedure raised, as it travels: a name and a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteError {
    name: String,
    payload: Payload,
}

impl RemoteError {
    /// An error with this name and payload.
    pub fn new(name: impl Into<String>, payload: Payload) -> Self {
        Self {
            name: name.into(),
            payload,
        }
    }

    /// The name that tells one kind of error from another.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the error says beside its name.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The same error with its payload in `codec`.
    pub(crate) fn in_codec(self, codec: Codec) -> Self {
        if self.payload.codec() == codec {
            return self;
        }
        Self::raised(codec, &self)
    }

    /// An error whose payload is a sentence.
    pub(crate) fn sentence(codec: Codec, name: &str, sentence: &str) -> Self {
        // A text can be written in every codec.
        let payload = Payload::encode(codec, sentence)
            .unwrap_or_else(|_| Payload::from_bytes(codec, bytes::Bytes::new()));
        Self::new(name, payload)
    }

    /// The error as it leaves a procedure that raised `error`.
    pub(crate) fn raised<E: RpcError>(codec: Codec, error: &E) -> Self {
        match error.payload(codec) {
            Ok(payload) => Self::new(error.name(), payload),
            Err(reason) => Self::sentence(
                codec,
                INVALID_RETURN,
                &format!("the payload of the error `{}`: {reason}", error.name()),
            ),
        }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remote error `{}`", self.name)
    }
}

impl Error for RemoteError {}

/// An error type that a procedure can return and its caller can match.
///
/// `#[derive(RpcError)]` implements it for structs and enums: see [the derive macro](macro@crate::RpcError).
///
/// ```
/// use almanet::RpcError;
///
/// #[derive(Debug, thiserror::Error, RpcError)]
/// enum GreetError {
///     #[error("{name} is not welcome here")]
///     Denied { name: String },
///     #[error("nobody has that name")]
///     #[rpc_error(name = "nobody")]
///     Unknown,
/// }
///
/// assert_eq!(GreetError::Denied { name: "Bob".into() }.name(), "denied");
/// assert_eq!(GreetError::Unknown.name(), "nobody");
/// ```
pub trait RpcError: Error + Send + Sync + Sized + 'static {
    /// The name that the error has on the wire. Callers in other languages see it.
    fn name(&self) -> &str;

    /// What the error says beside its name, in `codec`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when a field cannot be written.
    fn payload(&self, codec: Codec) -> Result<Payload, EncodeError>;

    /// Makes the error anew where the call was made.
    ///
    /// # Errors
    ///
    /// The remote error itself, when its name is none of this type's or its payload does not fit.
    fn from_remote(error: RemoteError) -> Result<Self, RemoteError>;

    /// The names that errors of this type can have, and what comes with each. Empty when that is not known.
    fn schemas() -> Vec<ErrorSchema> {
        Vec::new()
    }
}

impl RpcError for RemoteError {
    fn name(&self) -> &str {
        &self.name
    }

    fn payload(&self, codec: Codec) -> Result<Payload, EncodeError> {
        if self.payload.codec() == codec {
            return Ok(self.payload.clone());
        }
        let value: serde_json::Value = self.payload.decode().map_err(EncodeError::new)?;
        Payload::encode(codec, &value)
    }

    fn from_remote(error: RemoteError) -> Result<Self, RemoteError> {
        Ok(error)
    }
}

/// The error of a procedure that raises none.
impl RpcError for Infallible {
    fn name(&self) -> &str {
        match *self {}
    }

    fn payload(&self, _: Codec) -> Result<Payload, EncodeError> {
        match *self {}
    }

    fn from_remote(error: RemoteError) -> Result<Self, RemoteError> {
        Err(error)
    }
}
