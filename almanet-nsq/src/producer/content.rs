//! What one publish publishes.

use std::time::Duration;

use almanet_nsq_proto::{Command, TopicName};
use bytes::Bytes;

use crate::{config::ConnectionConfig, error::PublishError};

/// The sizes around MPUB's messages: one for each, and one for the count.
const SIZE_LENGTH: usize = 4;

/// Messages that are within the limits, as the command that publishes them.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) command: Command,
    /// The bytes of the messages.
    pub(super) size: usize,
}

impl Content {
    /// One message.
    pub(super) fn one(
        topic: &TopicName,
        body: Bytes,
        limits: &ConnectionConfig,
    ) -> Result<Self, PublishError> {
        Self::check(topic, &body, limits)?;
        Ok(Self::checked(topic, body))
    }

    /// That a message is within the limits.
    pub(super) fn check(
        topic: &TopicName,
        body: &Bytes,
        limits: &ConnectionConfig,
    ) -> Result<(), PublishError> {
        check_message(topic, body, limits)
    }

    /// One message, which is within the limits.
    pub(super) fn checked(topic: &TopicName, body: Bytes) -> Self {
        let size = body.len();
        let topic = topic.clone();
        let command = Command::Pub { topic, body };
        Self { command, size }
    }

    /// The message, where there is one that is delivered at once.
    pub(super) fn message(&self) -> Option<(&TopicName, &Bytes)> {
        match &self.command {
            Command::Pub { topic, body } => Some((topic, body)),
            _ => None,
        }
    }

    /// The body of that message.
    pub(super) fn into_message(self) -> Bytes {
        match self.command {
            Command::Pub { body, .. } => body,
            _ => Bytes::new(),
        }
    }

    /// Several messages, all or none.
    pub(super) fn many(
        topic: &TopicName,
        bodies: Vec<Bytes>,
        limits: &ConnectionConfig,
    ) -> Result<Self, PublishError> {
        if bodies.is_empty() {
            return Err(PublishError::Empty { topic: topic.clone() });
        }
        let mut size = SIZE_LENGTH;
        for body in &bodies {
            check_message(topic, body, limits)?;
            size += SIZE_LENGTH + body.len();
        }
        check_size(topic, size, limits.max_body_size)?;
        let topic = topic.clone();
        let command = Command::Mpub { topic, bodies };
        Ok(Self { command, size })
    }

    /// One message that is delivered after `delay`.
    pub(super) fn deferred(
        topic: &TopicName,
        delay: Duration,
        body: Bytes,
        limits: &ConnectionConfig,
    ) -> Result<Self, PublishError> {
        check_message(topic, &body, limits)?;
        let size = body.len();
        let topic = topic.clone();
        let command = Command::Dpub { topic, delay, body };
        Ok(Self { command, size })
    }
}

fn check_message(topic: &TopicName, body: &Bytes, limits: &ConnectionConfig) -> Result<(), PublishError> {
    if body.is_empty() {
        return Err(PublishError::Empty { topic: topic.clone() });
    }
    check_size(topic, body.len(), limits.max_message_size)
}

fn check_size(topic: &TopicName, size: usize, limit: usize) -> Result<(), PublishError> {
    if size > limit {
        return Err(PublishError::TooLarge {
            topic: topic.clone(),
            size,
            limit,
        });
    }
    Ok(())
}
