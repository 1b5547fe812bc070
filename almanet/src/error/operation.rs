//! One error type for each thing that a session can be asked to do, beside a call.

use std::{io, time::Duration};

use almanet_nsq::{InvalidName, TopicName};

use crate::{
    event::InvalidPattern,
    transport::{PublishError, SubscribeError, TopicsError, TransportConnectError},
    uri::{InvalidUri, Uri},
    wire::EncodeError,
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
