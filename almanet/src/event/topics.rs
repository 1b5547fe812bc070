//! What a consumer reads: one topic or all that match a pattern, as a member of which channel.

use std::{fmt, sync::Arc, time::Duration};

use almanet_nsq::{ChannelName, TopicName};

use super::{dead_letter::dead_letter_topic, follow::Following, incoming::Entrance, pattern::TopicPattern};
use crate::{
    error::ConsumeError,
    id::Id,
    session::Session,
    telemetry::Consumed,
    transport::{SubscribeOptions, Subscription},
};

/// How long a topic may be there before a pattern finds it, unless the consumer says otherwise. Topics appear seldom,
/// and keep their messages until they are found.
pub(super) const FOLLOW_INTERVAL: Duration = Duration::from_secs(15);

/// Topics as they were named, not yet checked.
#[derive(Debug, Clone)]
pub(super) enum Topics {
    One(String),
    Matching(String),
}

/// A channel as it was named, not yet checked.
#[derive(Debug, Clone)]
pub(super) enum Channel {
    Named(String),
    /// One of its own, which ends with the consumer.
    Own,
}

/// What a consumer reads.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) topics: CheckedTopics,
    pub(super) channel: ChannelName,
    /// Whether the channel is the consumer's own.
    own_channel: bool,
}

#[derive(Debug, Clone)]
pub(super) enum CheckedTopics {
    One(TopicName),
    Matching(TopicPattern),
}

impl Reading {
    pub(super) fn new(topics: &Topics, channel: &Channel) -> Result<Self, ConsumeError> {
        let topics = match topics {
            Topics::One(topic) => CheckedTopics::One(TopicName::new(topic)?),
            Topics::Matching(pattern) => CheckedTopics::Matching(TopicPattern::new(pattern)?),
        };
        let own_channel = matches!(channel, Channel::Own);
        let channel = match channel {
            Channel::Named(channel) => ChannelName::new(channel)?,
            Channel::Own => ChannelName::new(format!("almanet.{}#ephemeral", Id::random()))?,
        };
        Ok(Self {
            topics,
            channel,
            own_channel,
        })
    }

    /// That dead letters have somewhere to go.
    pub(super) fn check_dead_letters(&self) -> Result<(), ConsumeError> {
        if let CheckedTopics::One(topic) = &self.topics {
            dead_letter_topic(topic)?;
        }
        Ok(())
    }

    /// What metrics call the channel. Those of broadcasts have names without end, and one name there.
    pub(super) fn channel_label(&self) -> Arc<str> {
        match self.own_channel {
            true => "(own)".into(),
            false => self.channel.as_str().into(),
        }
    }

    pub(super) fn entrance(&self, session: &Session) -> Entrance {
        Entrance {
            channel: self.channel.clone(),
            codec: session.codec(),
            max_deferral: session.max_deferral(),
            consumed: Consumed::on(self.topics.single(), self.channel_label()),
        }
    }

    pub(super) async fn subscribe(
        &self,
        session: &Session,
        options: SubscribeOptions,
        follow_interval: Duration,
    ) -> Result<Subscription, ConsumeError> {
        let transport = session.transport();
        match &self.topics {
            CheckedTopics::One(topic) => Ok(transport.subscribe(topic, &self.channel, options).await?),
            CheckedTopics::Matching(pattern) => {
                Following::start(transport, pattern, &self.channel, options, follow_interval).await
            }
        }
    }
}

impl fmt::Display for CheckedTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(topic) => topic.fmt(f),
            Self::Matching(pattern) => pattern.fmt(f),
        }
    }
}

impl CheckedTopics {
    /// The topic, where there is but one.
    fn single(&self) -> Option<&TopicName> {
        match self {
            Self::One(topic) => Some(topic),
            Self::Matching(_) => None,
        }
    }

    /// The topic of a message that says `said` of it. With a pattern each says it.
    pub(super) fn of_message<'a>(&'a self, said: Option<&'a TopicName>) -> Option<&'a TopicName> {
        said.or_else(|| self.single())
    }
}
