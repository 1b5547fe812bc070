//! One message in the user's hands.

use std::{fmt, sync::Arc, time::Duration};

use almanet_nsq_proto::{Command, Message, MessageId};
use bytes::Bytes;

use super::link::{Gone, Link};
use crate::error::AnswerError;

/// A message that waits for its answer: [`finish`](Self::finish) or [`requeue`](Self::requeue).
///
/// Answers are queued at once and written soon; none of them waits. A delivery that is dropped unanswered is
/// requeued with no delay. One that is not answered within [`msg_timeout`](Self::msg_timeout) is delivered again by
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
    is_answered: bool,
}

impl Delivery {
    pub(super) fn new(message: Message, link: Arc<Link>) -> Self {
        Self {
            message,
            link,
            is_answered: false,
        }
    }

    /// What the publisher sent.
    ///
    /// The bytes share memory with others that came in the same read (64 KiB for small messages): copy what is to
    /// be kept for long.
    pub fn body(&self) -> &Bytes {
        &self.message.body
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
        self.answer(&finish)
    }

    /// The message shall be delivered again, to whichever consumer of the channel is ready, after `delay` (in whole
    /// milliseconds).
    ///
    /// nsqd shortens a delay beyond its `--max-req-timeout`, 1 h by default.
    ///
    /// # Errors
    ///
    /// [`AnswerError::ConnectionLost`] when the connection that the message came on is gone.
    pub fn requeue(self, delay: Duration) -> Result<(), AnswerError> {
        let requeue = Command::Req {
            id: self.message.id,
            delay,
        };
        self.answer(&requeue)
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

    /// Whether it is worth handing out.
    pub(super) fn is_wanted(&self) -> bool {
        self.link.is_wanted()
    }

    fn answer(mut self, command: &Command) -> Result<(), AnswerError> {
        self.is_answered = true;
        self.link.answer(command).map_err(|Gone| self.connection_lost())
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
        if !self.is_answered {
            // On a connection that is gone there is nothing to give back: the broker delivers the message again.
            let _ = self.link.answer(&Command::Req {
                id: self.message.id,
                delay: Duration::ZERO,
            });
        }
    }
}

impl fmt::Debug for Delivery {
    /// Leaves the body out, which may hold what no log should.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.message.id)
            .field("node", &self.link.address)
            .field("attempts", &self.message.attempts)
            .field("size", &self.message.body.len())
            .finish_non_exhaustive()
    }
}
