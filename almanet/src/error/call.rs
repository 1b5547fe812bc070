//! Why a call has no value.

use std::{sync::Arc, time::Duration};

use super::remote::{RemoteError, RpcError};
use crate::{
    transport::{PublishError, SubscribeError},
    uri::{InvalidUri, Uri},
    wire::{DecodeError, EncodeError},
};

/// Why a call has no value.
///
/// `E` is the error type of the procedure; a call by name that does not tell it has [`RemoteError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E: std::error::Error + 'static = RemoteError> {
    /// The procedure returned this error.
    #[error(transparent)]
    Remote(E),
    /// The procedure returned an error that `E` does not know: the callee is newer, or raises more than it says.
    #[error("{procedure} returned `{}`, an error that its caller does not know", .error.name())]
    Unexpected {
        /// The procedure that was called.
        procedure: Uri,
        /// The error as it came.
        error: RemoteError,
    },
    /// The procedure did not take the payload.
    #[error("{procedure} refused the payload: {reason}")]
    InvalidPayload {
        /// The procedure that was called.
        procedure: Uri,
        /// The field and what is wrong with it, in the callee's words.
        reason: String,
    },
    /// The procedure did its work, but its answer could not be sent.
    #[error("{procedure} could not answer: {reason}")]
    InvalidReturn {
        /// The procedure that was called.
        procedure: Uri,
        /// Why the answer could not be sent, in the callee's words.
        reason: String,
    },
    /// The procedure failed unexpectedly; the log of the service has the details.
    #[error("{procedure} failed: its service's log says why")]
    Internal {
        /// The procedure that was called.
        procedure: Uri,
    },
    /// No answer came in time: nobody serves the procedure, or it takes longer than the caller waits or its own limit
    /// ([`Procedure::timeout`](crate::Procedure::timeout)) allows.
    #[error("{procedure} did not answer within {waited:?}: is a service running that has it?")]
    Timeout {
        /// The procedure that was called.
        procedure: Uri,
        /// How long the caller waited.
        waited: Duration,
    },
    /// The broker says that nobody serves the procedure. Only a call that asks for it
    /// ([`Call::responders_within`](crate::Call::responders_within)) ends so. A service that starts before the call's
    /// timeout has passed may run it all the same.
    #[error(
        "nobody serves {procedure}: no service had it {waited:?} after the call; start one, or wait longer"
    )]
    NoResponders {
        /// The procedure that was called.
        procedure: Uri,
        /// How long the caller waited.
        waited: Duration,
    },
    /// The instance that got the call had too much to do, and did not run it.
    #[error("{procedure} was not run: {reason}")]
    Overloaded {
        /// The procedure that was called.
        procedure: Uri,
        /// What there was too much of, in the callee's words.
        reason: String,
    },
    /// The procedure answers with a stream, and was called for one value. It did not run.
    #[error("{procedure} answers with a stream of items: call it by `stream`")]
    StreamOnly {
        /// The procedure that was called.
        procedure: Uri,
    },
    /// The procedure answers with one value, and was asked for a stream. It has run.
    #[error("{procedure} answered with one value and no stream: call it without `stream`")]
    NotAStream {
        /// The procedure that was called.
        procedure: Uri,
    },
    /// A stream was cut off after some of it had been sent: by its service, which was stopped, or because its instance was
    /// lost and the call is run again.
    #[error("the stream of {procedure} was cut off: {reason}")]
    Interrupted {
        /// The procedure that was called.
        procedure: Uri,
        /// What cut it off.
        reason: String,
    },
    /// A [layer](crate::SessionBuilder::layer) of this session stopped the call.
    #[error("a layer of the session stopped the call of {procedure}")]
    Layer {
        /// The procedure that was to be called.
        procedure: Uri,
        /// What the layer says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The broker that had taken the call was lost, and with it perhaps the call or its answer: it may have run or not.
    #[error("{procedure} may have run or not: the connection to {node}, which had taken the call, was lost")]
    Disconnected {
        /// The procedure that was called.
        procedure: Uri,
        /// The address of the broker.
        node: Arc<str>,
    },
    /// The call that this one was made for has ended or was given up.
    #[error("{procedure} was given up together with the call that it was made for")]
    Cancelled {
        /// The procedure that was called.
        procedure: Uri,
    },
    /// Too many calls of the procedure have failed lately, so this one was not sent.
    #[error("{procedure} was not called: too many calls failed lately, try again in {retry_after:?}")]
    CircuitOpen {
        /// The procedure that was to be called.
        procedure: Uri,
        /// When a call will be sent again; zero when one is under way to find out whether it can.
        retry_after: Duration,
    },
    /// The name of the procedure is not valid.
    #[error(transparent)]
    InvalidUri(#[from] InvalidUri),
    /// The payload could not be written.
    #[error("cannot call {procedure}")]
    Encode {
        /// The procedure that was to be called.
        procedure: Uri,
        /// What is wrong with the payload.
        #[source]
        source: EncodeError,
    },
    /// The payload is larger than payloads may be ([`SessionBuilder::max_payload`](crate::SessionBuilder::max_payload)),
    /// or makes a message that is larger than messages may be
    /// ([`ConnectionConfig::max_message_size`](crate::transport::ConnectionConfig::max_message_size)). Nothing was sent.
    #[error(
        "{procedure} was not called: {size} bytes are more than the limit of {limit}: send less, or raise the limit here, in \
         the service and in the broker"
    )]
    TooLarge {
        /// The procedure that was to be called.
        procedure: Uri,
        /// How many bytes the payload, or the message, has.
        size: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The call was to be delayed by more than brokers hold messages back
    /// ([`SessionBuilder::max_deferral`](crate::SessionBuilder::max_deferral)). Nothing was sent.
    #[error(
        "{procedure} cannot be called after {delay:?}: brokers hold a call back for {limit:?} at most, so keep it yourself until \
         less is left, or raise `--max-req-timeout` there and `SessionBuilder::max_deferral` here"
    )]
    DelayTooLong {
        /// The procedure that was to be called.
        procedure: Uri,
        /// The delay that was asked for.
        delay: Duration,
        /// The longest that there can be.
        limit: Duration,
    },
    /// The answer is not of the type that the caller expects.
    #[error("{procedure} returned something else than expected")]
    Decode {
        /// The procedure that was called.
        procedure: Uri,
        /// The field that does not fit and the reason.
        #[source]
        source: DecodeError,
    },
    /// The call could not be handed to a broker.
    #[error("cannot call {procedure}")]
    Publish {
        /// The procedure that was to be called.
        procedure: Uri,
        /// What went wrong, and whether the call may have left all the same.
        #[source]
        source: PublishError,
    },
    /// The session could not listen for answers.
    #[error("cannot listen for the answer of {procedure}")]
    Subscribe {
        /// The procedure that was to be called.
        procedure: Uri,
        /// What went wrong.
        #[source]
        source: SubscribeError,
    },
    /// The session has been left.
    #[error("the session has been left: connect a new one")]
    SessionLeft,
}

impl CallError {
    /// The same error for a caller who knows the procedure's own errors as `E`.
    pub(crate) fn typed<E: RpcError>(self, procedure: Uri) -> CallError<E> {
        match self {
            Self::Remote(error) => match E::from_remote(error) {
                Ok(error) => CallError::Remote(error),
                Err(error) => CallError::Unexpected { procedure, error },
            },
            Self::Unexpected { procedure, error } => CallError::Unexpected { procedure, error },
            Self::InvalidPayload { procedure, reason } => CallError::InvalidPayload { procedure, reason },
            Self::InvalidReturn { procedure, reason } => CallError::InvalidReturn { procedure, reason },
            Self::Internal { procedure } => CallError::Internal { procedure },
            Self::Timeout { procedure, waited } => CallError::Timeout { procedure, waited },
            Self::NoResponders { procedure, waited } => CallError::NoResponders { procedure, waited },
            Self::Overloaded { procedure, reason } => CallError::Overloaded { procedure, reason },
            Self::StreamOnly { procedure } => CallError::StreamOnly { procedure },
            Self::NotAStream { procedure } => CallError::NotAStream { procedure },
            Self::Interrupted { procedure, reason } => CallError::Interrupted { procedure, reason },
            Self::Layer { procedure, source } => CallError::Layer { procedure, source },
            Self::Disconnected { procedure, node } => CallError::Disconnected { procedure, node },
            Self::Cancelled { procedure } => CallError::Cancelled { procedure },
            Self::CircuitOpen {
                procedure,
                retry_after,
            } => CallError::CircuitOpen {
                procedure,
                retry_after,
            },
            Self::InvalidUri(error) => CallError::InvalidUri(error),
            Self::Encode { procedure, source } => CallError::Encode { procedure, source },
            Self::TooLarge {
                procedure,
                size,
                limit,
            } => CallError::TooLarge {
                procedure,
                size,
                limit,
            },
            Self::DelayTooLong {
                procedure,
                delay,
                limit,
            } => CallError::DelayTooLong {
                procedure,
                delay,
                limit,
            },
            Self::Decode { procedure, source } => CallError::Decode { procedure, source },
            Self::Publish { procedure, source } => CallError::Publish { procedure, source },
            Self::Subscribe { procedure, source } => CallError::Subscribe { procedure, source },
            Self::SessionLeft => CallError::SessionLeft,
        }
    }
}
