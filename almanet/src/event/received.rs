//! An event in the hands of a pull consumer, and a message that is none.

use std::{ops::Deref, time::Duration};

use almanet_nsq::TopicName;

use super::{
    header,
    incoming::{Incoming, answered},
};
use crate::{
    telemetry::Answered,
    transport::{AnswerError, Delivery},
    wire::{DecodeError, Headers},
};

/// An event that waits for an answer: [`ack`](Self::ack) or [`nack`](Self::nack). It derefs to its value.
///
/// Dropped unanswered, it is delivered again at once.
#[derive(Debug)]
#[must_use = "an event that is dropped unanswered is delivered again"]
pub struct Received<T> {
    value: T,
    event: Incoming,
}

impl<T> Received<T> {
    pub(super) fn new(value: T, event: Incoming) -> Self {
        Self { value, event }
    }

    /// The event is dealt with.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the connection that brought the event is gone; it will be delivered again.
    pub fn ack(self) -> Result<(), AnswerError> {
        self.event.finish(Answered::Ok)
    }

    /// The event shall be delivered again, after `delay`, of which brokers grant an hour at most (nsqd's
    /// `--max-req-timeout`).
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the connection that brought the event is gone; it will be delivered again.
    pub fn nack(self, delay: Duration) -> Result<(), AnswerError> {
        self.event.requeue(delay, Answered::Retried)
    }

    /// The event needs more time: its message timeout begins anew. nsqd allows this for 15 minutes in all.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the connection that brought the event is gone; it will be delivered again.
    pub fn touch(&self) -> Result<(), AnswerError> {
        self.event.delivery.touch()
    }

    /// How often the event has been delivered, this time included.
    pub fn attempts(&self) -> u16 {
        u16::try_from(self.event.attempts).unwrap_or(u16::MAX)
    }

    /// What travelled beside the event. Almanet's own begin with `almanet-`.
    pub fn headers(&self) -> &Headers {
        self.event.headers()
    }

    /// The version of the event's type that its publisher had ([`Event::VERSION`](trait@crate::Event)). `None` for a bare
    /// payload, and for what was published without a type: only events that travel in an envelope tell it.
    pub fn event_version(&self) -> Option<u32> {
        header::version(self.headers())
    }

    /// The topic that the event came from, for a consumer of several; `None` for one that has a single topic.
    pub fn topic(&self) -> Option<&TopicName> {
        self.event.delivery.topic.as_deref()
    }

    /// The message that carries the event, for what else there is to know or do.
    pub fn delivery(&self) -> &Delivery {
        &self.event.delivery
    }

    /// The value, with the event acknowledged. One that cannot be will be delivered again.
    pub(super) fn into_acknowledged(self) -> T {
        answered(self.event.finish(Answered::Ok));
        self.value
    }

    pub(super) fn into_incoming(self) -> Incoming {
        self.event
    }
}

impl<T> Deref for Received<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A message that is not of the type that its consumer reads.
///
/// [`discard`](Self::discard) takes it out of the channel; dropped unanswered, it is delivered again.
#[derive(Debug, thiserror::Error)]
#[error("a message on {} is not of the type that is consumed", .topic.as_ref().map_or("a topic", TopicName::as_str))]
pub struct Undecodable {
    topic: Option<TopicName>,
    #[source]
    source: DecodeError,
    event: Box<Incoming>,
}

impl Undecodable {
    pub(super) fn new(topic: Option<TopicName>, source: DecodeError, event: Incoming) -> Self {
        Self {
            topic,
            source,
            event: Box::new(event),
        }
    }

    /// What does not fit.
    pub fn reason(&self) -> &DecodeError {
        &self.source
    }

    /// The message as it came.
    pub fn delivery(&self) -> &Delivery {
        &self.event.delivery
    }

    /// Takes the message out of the channel, so that it is not delivered again.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the connection that brought the message is gone; it will be delivered again.
    pub fn discard(self) -> Result<(), AnswerError> {
        self.event.finish(Answered::Discarded)
    }

    pub(super) fn into_incoming(self) -> Incoming {
        *self.event
    }
}
