//! One error type for each thing that a session can be asked to do.

use std::{io, sync::Arc, time::Duration};

use almanet_nsq::{InvalidName, TopicName};

use crate::{
    error::remote::{RemoteError, RpcError},
    event::InvalidPattern,
    transport::{PublishError, SubscribeError, TopicsError, TransportConnectError},
    uri::{InvalidUri, Uri},
    wire::{DecodeError, EncodeError},
};

/// Why no session could be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No address was given.
    #[error("no address to connect to: give at least one host:port, such as 127.0.0.1:4150")]
    NoAddress,
    /// None of the brokers could be reached.
    #[error(transparent)]
    Transport(#[from] TransportConnectError),
}

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

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// The topic's name is not valid.
    #[error(transparent)]
    InvalidTopic(#[from] InvalidName),
    /// The payload could not be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// No broker took it.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Why services could not be asked what they are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntrospectError {
    /// A name is not valid.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The question could not be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The session could not listen for answers.
    #[error("cannot listen for the answers of services")]
    Subscribe(#[from] SubscribeError),
    /// No broker took the question.
    #[error("cannot ask the services that run")]
    Publish(#[from] PublishError),
    /// No broker had confirmed the question when the time was up. It may have been asked all the same.
    #[error("no broker confirmed the question within {waited:?}: ask again, or wait longer")]
    Unconfirmed {
        /// How long the asking session waited.
        waited: Duration,
    },
    /// The session has been left.
    #[error("the session has been left: connect a new one")]
    SessionLeft,
}

/// Why a batch was not committed. What it was to acknowledge is delivered again.
#[derive(Debug, thiserror::Error)]
#[error(
    "the messages for topic {topic} could not be published, after those for {published} other topics were"
)]
#[non_exhaustive]
pub struct CommitError {
    /// The topic.
    pub topic: TopicName,
    /// For how many topics the messages of the batch have been published, and stay so.
    pub published: usize,
    /// What went wrong.
    #[source]
    pub source: PublishError,
}

/// Why a topic cannot be consumed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The text is no pattern of topics.
    #[error(transparent)]
    InvalidPattern(#[from] InvalidPattern),
    /// It is not known which topics there are.
    #[error(transparent)]
    Topics(#[from] TopicsError),
    /// The name of the topic or the channel is not valid.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// No broker took the subscription.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
}

/// Why dead letters were not all looked at or replayed. Those that were not are where they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// They cannot be read.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    /// One could not be published again.
    #[error("stopped after {replayed} dead letters: the next could not be published again")]
    Publish {
        /// How many were published before.
        replayed: usize,
        /// What went wrong.
        #[source]
        source: ProduceError,
    },
}

/// Why a service did not start. Nothing of it is running then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The service has neither procedures nor consumers.
    #[error(
        "the service has no procedures and no consumers: add one with `Service::procedure` or `Service::consumer`"
    )]
    Empty,
    /// The name of a procedure is not valid.
    #[error(transparent)]
    InvalidUri(#[from] InvalidUri),
    /// The channel of a procedure is not valid.
    #[error("cannot serve {procedure}")]
    InvalidChannel {
        /// The procedure.
        procedure: Uri,
        /// What is wrong with the name.
        #[source]
        source: InvalidName,
    },
    /// Two procedures have the same name.
    #[error("{procedure} is in the service twice: give one of them another name")]
    Duplicate {
        /// The name.
        procedure: Uri,
    },
    /// A consumer of events cannot be started.
    #[error("cannot consume {topic} as {channel}")]
    Consume {
        /// The topic, or the pattern of topics.
        topic: String,
        /// The channel.
        channel: String,
        /// What went wrong.
        #[source]
        source: ConsumeError,
    },
    /// No broker took the subscription.
    #[error("cannot serve {procedure}")]
    Subscribe {
        /// The procedure.
        procedure: Uri,
        /// What went wrong.
        #[source]
        source: SubscribeError,
    },
    /// The session has been left.
    #[error("the session has been left: connect a new one")]
    SessionLeft,
}

/// Why a program that only serves ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// No broker could be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The service did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The process cannot be told of signals.
    #[error("cannot listen for SIGINT and SIGTERM")]
    Signals(#[source] io::Error),
    /// Not everything had ended in time.
    #[error(transparent)]
    Leave(#[from] LeaveError),
}

/// Why leaving a session did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaveError {
    /// Services of the session were still running when the time was up; they have been cut off.
    #[error(
        "services were still running {waited:?} after the session was asked to leave: they have been cut off"
    )]
    Unfinished {
        /// How long the session waited for them.
        waited: Duration,
    },
}
