//! One message in the user's hands.

use std::{fmt, sync::Arc, time::Duration};

use almanet_nsq_proto::{Command, Message, MessageId, TopicName};
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    backoff::Fate,
    link::{Gone, Link},
};
use crate::error::AnswerError;

/// A message that waits for its answer: [`finish`](Self::finish) or [`requeue`](Self::requeue).
///
/// Answers are queued at once and written soon; none of them waits. A delivery that is dropped unanswered, by a
/// handler that panics for example, is requeued with no delay and counts as failed. One that is not answered within [`msg_timeout`](Self::msg_timeout) is delivered again by
/// the broker, unless it is [touched](Self::touch) in time.
///
/// ```
/// use std::time::Duration;
///
/// use almanet_nsq::{AnswerError, Delivery};
///
/// fn handle(delivery: Delivery) -> Result<(), AnswerError> {
///     match std::str::from_utf8(delivery.body()) {
///         Ok(_) => delivery.finish(),
///         Err(_) => delivery.requeue(Duration::from_secs(10)),
///     }
/// }
/// ```
pub struct Delivery {
    message: Message,
    link: Arc<Link>,
    /// The size of a body that was too large to be kept.
    skipped: Option<usize>,
    received_at: Instant,
    /// See [`Outcomes::round`](super::outcomes::Outcomes::round).
    round: u32,
    stage: Stage,
    /// Where it is [held](super::held::Held), if it is.
    slot: Option<usize>,
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It waits for the user.
    Waiting,
    /// The user has it.
    Taken,
    Answered,
}

impl Delivery {
    /// A message that came at `received_at`, in `round`.
    pub(super) fn new(message: Message, link: Arc<Link>, received_at: Instant, round: u32) -> Self {
        Self {
            message,
            link,
            skipped: None,
            received_at,
            round,
            stage: Stage::Waiting,
            slot: None,
        }
    }

    /// A message whose body of `size` bytes was too large to be kept.
    pub(super) fn skipped(mut self, size: usize) -> Self {
        self.skipped = Some(size);
        self
    }

    /// What the publisher sent.
    ///
    /// The bytes share memory with others that came in the same read (64 KiB for small messages): copy what is to
    /// be kept for long.
    pub fn body(&self) -> &Bytes {
        &self.message.body
    }

    /// Takes the body out, for those who need nothing but the answer afterwards: it is empty here then. Unlike a clone
    /// this costs nothing where other threads use bodies of the same memory.
    pub fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.message.body)
    }

    /// The size of the body in bytes, as long as it was not [taken](Self::take_body).
    ///
    /// It is more than there are in [`body`](Self::body), which is empty then, only where the message was larger than
    /// the configured [`max_message_size`](crate::ConnectionConfig::max_message_size). Such a message is never
    /// handed out by the consumer, but may be given up.
    pub fn size(&self) -> usize {
        self.skipped.unwrap_or(self.message.body.len())
    }

    /// The broker's name for this message.
    pub fn id(&self) -> MessageId {
        self.message.id
    }

    /// When the broker took the message in, in nanoseconds since 1970 by the broker's clock.
    pub fn timestamp(&self) -> i64 {
        self.message.timestamp
    }

    /// How often the message has been delivered, this time included.
    pub fn attempts(&self) -> u16 {
        self.message.attempts
    }

    /// The address of the broker that the message came from, as it was given to the consumer.
    pub fn node(&self) -> &Arc<str> {
        &self.link.address
    }

    /// How long the broker waits for the answer before it delivers the message again, as it granted at the start
    /// of the connection.
    pub fn msg_timeout(&self) -> Duration {
        self.link.msg_timeout
    }

    /// The message is done.
    ///
    /// # Errors
    ///
    /// [`AnswerError::ConnectionLost`] when the connection that the message came on is gone.
    pub fn finish(self) -> Result<(), AnswerError> {
        let finish = Command::Fin(self.message.id);
        self.answer(&finish, Fate::Finished)
    }

    /// Publishes `body` to `topic` through the broker that the message came from, and finishes the message with it.
    ///
    /// Both leave together on the message's own connection, and nothing waits for the confirmation: the broker
    /// finishes the message only after it has taken in what is published, so either both happen, or the message is
    /// delivered again (nsqd executes the commands of a connection in order, and none after a publish that it
    /// refused). Then `body` may have been published all the same.
    ///
    /// A broker that refuses the publish ends the connection, and with it all that is unanswered there. What was
    /// delivered [more than once](Self::attempts) is therefore better published by a
    /// [`Producer`](crate::Producer), which says what is wrong.
    ///
    /// ```
    /// use almanet_nsq::{AnswerError, Delivery, TopicName};
    ///
    /// fn shout(delivery: Delivery, shouted: &TopicName) -> Result<(), AnswerError> {
    ///     let louder = delivery.body().to_ascii_uppercase();
    ///     delivery.publish_and_finish(shouted, louder.into())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AnswerError::ConnectionLost`] when the connection that the message came on is gone, and
    /// [`AnswerError::Unpublishable`] when `body` is empty or larger than the configured
    /// [`max_message_size`](crate::ConnectionConfig::max_message_size). Nothing is published then, and the message is
    /// delivered again.
    pub fn publish_and_finish(mut self, topic: &TopicName, body: Bytes) -> Result<(), AnswerError> {
        let (size, limit) = (body.len(), self.link.max_message_size);
        if size == 0 || size > limit {
            return Err(AnswerError::Unpublishable {
                topic: topic.clone(),
                size,
                limit,
            });
        }
        self.stage = Stage::Answered;
        self.link.outcomes.answered(self.round, Fate::Finished);
        self.link
            .publish_and_finish(topic.clone(), body, self.message.id, self.slot)
            .map_err(|Gone| self.connection_lost())
    }

    /// The message shall be delivered again, to whichever consumer of the channel is ready, after `delay` (in whole
    /// milliseconds).
    ///
    /// nsqd shortens a delay beyond its `--max-req-timeout`, 1 h by default. The message counts as failed, so the
    /// consumer [backs off](crate::ConsumerConfig::backoff).
    ///
    /// # Errors
    ///
    /// [`AnswerError::ConnectionLost`] when the connection that the message came on is gone.
    pub fn requeue(self, delay: Duration) -> Result<(), AnswerError> {
        let requeue = self.requeue_after(delay);
        self.answer(&requeue, Fate::Failed)
    }

    /// As [`requeue`](Self::requeue), for a message that has not failed: that is not for this consumer, or not yet.
    ///
    /// # Errors
    ///
    /// [`AnswerError::ConnectionLost`] when the connection that the message came on is gone.
    pub fn requeue_without_backoff(self, delay: Duration) -> Result<(), AnswerError> {
        let requeue = self.requeue_after(delay);
        self.answer(&requeue, Fate::Returned)
    }

    /// The message needs more time: its timeout starts anew.
    ///
    /// nsqd allows this until the message has been out for its `--max-msg-timeout`, 15 min by default.
    ///
    /// # Errors
    ///
    /// [`AnswerError::ConnectionLost`] when the connection that the message came on is gone.
    pub fn touch(&self) -> Result<(), AnswerError> {
        let touch = Command::Touch(self.message.id);
        self.link.send(&touch).map_err(|Gone| self.connection_lost())
    }

    /// Hands it out, if it can still be worked on. If not, it is delivered again.
    pub(super) fn take(mut self, now: Instant) -> Option<Self> {
        if !self.is_wanted() {
            return None;
        }
        let waited = now.duration_since(self.received_at);
        self.link.left(now, waited);
        if waited >= self.link.msg_timeout {
            // The broker has taken it back, or is about to, and an answer would be refused.
            self.stage = Stage::Answered;
            self.link.expired(self.message.id);
            return None;
        }
        self.stage = Stage::Taken;
        self.slot = self.link.take(self.message.id, self.received_at, now);
        Some(self)
    }

    /// Whether it is worth handing out.
    pub(super) fn is_wanted(&self) -> bool {
        self.link.is_wanted()
    }

    /// That this message came at all is a failure, whatever becomes of it.
    pub(super) fn count_as_failed(&self) {
        self.link.outcomes.answered(self.round, Fate::Failed);
    }

    fn requeue_after(&self, delay: Duration) -> Command {
        Command::Req {
            id: self.message.id,
            delay,
        }
    }

    fn answer(mut self, command: &Command, fate: Fate) -> Result<(), AnswerError> {
        if self.stage == Stage::Waiting {
            self.link.left(self.received_at, Duration::ZERO);
        }
        self.stage = Stage::Answered;
        self.link.outcomes.answered(self.round, fate);
        self.link
            .answer(command, self.slot)
            .map_err(|Gone| self.connection_lost())
    }

    fn connection_lost(&self) -> AnswerError {
        AnswerError::ConnectionLost {
            node: Arc::clone(&self.link.address),
            id: self.message.id,
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        match self.stage {
            Stage::Answered => return,
            Stage::Waiting => self.link.left(self.received_at, Duration::ZERO),
            Stage::Taken if self.is_wanted() => self.link.outcomes.answered(self.round, Fate::Failed),
            Stage::Taken => {}
        }
        let requeue = self.requeue_after(Duration::ZERO);
        // On a connection that is gone there is nothing to give back: the broker delivers the message again.
        let _ = self.link.answer(&requeue, self.slot);
    }
}

impl fmt::Debug for Delivery {
    /// Leaves the body out, which may hold what no log should.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.message.id)
            .field("node", &self.link.address)
            .field("attempts", &self.message.attempts)
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}
