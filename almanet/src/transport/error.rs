//! What a transport cannot do, and why. The errors of publications and answers are those of `almanet-nsq`.

use std::error::Error;

use almanet_nsq::{ChannelName, InvalidName, TopicName};

/// Why no node could be reached.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TransportConnectError(Box<dyn Error + Send + Sync>);

impl TransportConnectError {
    /// The error of a transport.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// Why it is not known which topics there are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopicsError {
    /// The transport knows nobody who could say.
    #[error(
        "NSQ's TCP protocol cannot list topics: give the session an nsqlookupd (`SessionBuilder::lookupd`) or the HTTP \
         addresses of its nsqd (`NsqTransportConfig::http_addresses`)"
    )]
    Unknowable,
    /// Nobody answered.
    #[error("cannot learn which topics there are")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// Why no node took a subscription.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The brokers could not be reached or refused.
    #[error("cannot subscribe to {topic} as {channel}")]
    Failed {
        /// The topic.
        topic: TopicName,
        /// The channel.
        channel: ChannelName,
        /// What each address answered.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The name of the topic or channel is not valid.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The transport has been closed.
    #[error("the transport has been closed: connect a new session")]
    Closed,
}
