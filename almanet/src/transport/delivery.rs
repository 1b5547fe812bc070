//! A message that a subscription has brought, and the way back for its answer.

use std::{fmt, sync::Arc, time::Duration};

use almanet_nsq::{AnswerError, MessageId, TopicName};
use bytes::Bytes;

/// Messages over NSQ up to this size are published with the answer to another, without a look at the confirmation.
const LARGEST_UNCONFIRMED: usize = 16 * 1024;

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
    way_back: WayBack,
}

/// Where the answer goes.
enum WayBack {
    /// A part of the delivery: every message over NSQ would need memory of its own otherwise.
    Nsq(almanet_nsq::Delivery),
    Other(Box<dyn Acknowledge>),
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
            way_back: WayBack::Other(acknowledge),
        }
    }

    /// Tells the broker that the message is done.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the connection that brought the message is gone; it will be delivered again.
    pub fn finish(self) -> Result<(), AnswerError> {
        match self.way_back {
            WayBack::Nsq(delivery) => delivery.finish(),
            WayBack::Other(acknowledge) => acknowledge.finish(),
        }
    }

    /// Publishes `body` to `topic` through the node that delivered the message, and finishes the message, without
    /// waiting: either both happen, or the message is delivered again.
    ///
    /// # Errors
    ///
    /// The delivery, with nothing done, when the transport cannot do this. Then publish, wait, and finish.
    pub fn publish_and_finish(mut self, topic: &TopicName, body: Bytes) -> Result<(), Box<Self>> {
        let left = match self.way_back {
            WayBack::Nsq(delivery) => {
                publish_and_finish(delivery, topic, body).map_err(|delivery| WayBack::Nsq(*delivery))
            }
            WayBack::Other(acknowledge) => acknowledge
                .publish_and_finish(topic, body)
                .map_err(WayBack::Other),
        };
        match left {
            Ok(()) => Ok(()),
            Err(way_back) => {
                self.way_back = way_back;
                Err(Box::new(self))
            }
        }
    }

    /// Tells the broker to deliver the message again, after `delay`.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the connection that brought the message is gone; it will be delivered again.
    pub fn requeue(self, delay: Duration) -> Result<(), AnswerError> {
        match self.way_back {
            WayBack::Nsq(delivery) => delivery.requeue(delay),
            WayBack::Other(acknowledge) => acknowledge.requeue(delay),
        }
    }

    /// Asks the broker for another [`message_timeout`](Self::message_timeout) of time.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the connection that brought the message is gone; it will be delivered again.
    pub fn touch(&self) -> Result<(), AnswerError> {
        match &self.way_back {
            WayBack::Nsq(delivery) => delivery.touch(),
            WayBack::Other(acknowledge) => acknowledge.touch(),
        }
    }
}

impl From<almanet_nsq::Delivery> for Delivery {
    fn from(mut delivery: almanet_nsq::Delivery) -> Self {
        Self {
            body: delivery.take_body(),
            id: delivery.id(),
            timestamp: delivery.timestamp(),
            attempts: delivery.attempts(),
            node: Arc::clone(delivery.node()),
            message_timeout: delivery.msg_timeout(),
            topic: None,
            way_back: WayBack::Nsq(delivery),
        }
    }
}

fn publish_and_finish(
    delivery: almanet_nsq::Delivery,
    topic: &TopicName,
    body: Bytes,
) -> Result<(), Box<almanet_nsq::Delivery>> {
    // A publish that is refused ends the connection. It is refused again at the next attempt, and then by a
    // producer, which says why; a message that is large is refused where the node's limit is below ours.
    if delivery.attempts() > 1 || body.is_empty() || body.len() > LARGEST_UNCONFIRMED {
        return Err(Box::new(delivery));
    }
    let (id, node) = (delivery.id(), Arc::clone(delivery.node()));
    if let Err(error) = delivery.publish_and_finish(topic, body) {
        tracing::debug!(message = %id, %node, %error, "a message may be delivered again");
    }
    Ok(())
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
