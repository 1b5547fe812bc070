//! A message that a subscription has brought, and the way back for its answer.

use std::{fmt, sync::Arc, time::Duration};

use almanet_nsq::{AnswerError, MessageId, TopicName};
use bytes::Bytes;

/// A message that waits for an answer: [`finish`](Self::finish) or [`requeue`](Self::requeue).
///
/// Dropped unanswered, it is requeued at once.
#[non_exhaustive]
pub struct Delivery {
    /// What was published.
    pub body: Bytes,
    /// The broker's name for the message.
    pub id: MessageId,
    /// When the broker took the message in: nanoseconds since 1970, by the broker's clock.
    pub timestamp: i64,
    /// How often the message has been delivered, this time included.
    pub attempts: u16,
    /// The node that delivered it.
    pub node: Arc<str>,
    /// How long the message may stay unanswered before it is delivered again.
    pub message_timeout: Duration,
    /// The topic, where the subscription has several; `None` where it has one.
    pub topic: Option<Arc<TopicName>>,
    acknowledge: Box<dyn Acknowledge>,
}

/// The way back for the answer to a message. Dropped unused, it requeues the message at once.
pub trait Acknowledge: Send + Sync {
    /// The message is done.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the answer cannot reach the broker; the message will be delivered again.
    fn finish(self: Box<Self>) -> Result<(), AnswerError>;

    /// Publishes `body` to `topic` through the node that delivered the message, and finishes the message, without
    /// waiting: either both happen, or the message is delivered again.
    ///
    /// # Errors
    ///
    /// Itself, with nothing done, when this cannot be.
    fn publish_and_finish(
        self: Box<Self>,
        topic: &TopicName,
        body: Bytes,
    ) -> Result<(), Box<dyn Acknowledge>>;

    /// The message shall be delivered again, after `delay`.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the answer cannot reach the broker; the message will be delivered again.
    fn requeue(self: Box<Self>, delay: Duration) -> Result<(), AnswerError>;

    /// The message needs more time.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the answer cannot reach the broker; the message will be delivered again.
    fn touch(&self) -> Result<(), AnswerError>;
}

impl Delivery {
    /// A message that is answered through `acknowledge`.
    pub fn new(
        body: Bytes,
        id: MessageId,
        timestamp: i64,
        attempts: u16,
        node: Arc<str>,
        message_timeout: Duration,
        acknowledge: Box<dyn Acknowledge>,
    ) -> Self {
        Self {
            body,
            id,
            timestamp,
            attempts,
            node,
            message_timeout,
            topic: None,
            acknowledge,
        }
    }

    /// Tells the broker that the message is done.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the connection that brought the message is gone; it will be delivered again.
    pub fn finish(self) -> Result<(), AnswerError> {
        self.acknowledge.finish()
    }

    /// Publishes `body` to `topic` through the node that delivered the message, and finishes the message, without
    /// waiting: either both happen, or the message is delivered again.
    ///
    /// # Errors
    ///
    /// The delivery, with nothing done, when the transport cannot do this. Then publish, wait, and finish.
    pub fn publish_and_finish(mut self, topic: &TopicName, body: Bytes) -> Result<(), Self> {
        match self.acknowledge.publish_and_finish(topic, body) {
            Ok(()) => Ok(()),
            Err(acknowledge) => {
                self.acknowledge = acknowledge;
                Err(self)
            }
        }
    }

    /// Tells the broker to deliver the message again, after `delay`.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the connection that brought the message is gone; it will be delivered again.
    pub fn requeue(self, delay: Duration) -> Result<(), AnswerError> {
        self.acknowledge.requeue(delay)
    }

    /// Asks the broker for another [`message_timeout`](Self::message_timeout) of time.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the connection that brought the message is gone; it will be delivered again.
    pub fn touch(&self) -> Result<(), AnswerError> {
        self.acknowledge.touch()
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.id)
            .field("node", &self.node)
            .field("attempts", &self.attempts)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
