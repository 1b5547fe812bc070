//! Events by pulling: the consumer asks for the next one and answers it.

use std::{fmt, marker::PhantomData, ops::Deref, time::Duration};

use almanet_nsq::{ChannelName, TopicName};
use serde::de::DeserializeOwned;

use super::Event;
use crate::{
    error::ConsumeError,
    session::Session,
    transport::{AnswerError, Delivery, SubscribeOptions, Subscription},
    wire::{Codec, DecodeError},
};

impl Session {
    /// Consumes the events of type `E` as a member of `channel`; returns once the subscription is confirmed.
    ///
    /// Consumers of one channel share its events; each channel gets all of them, from when it was first subscribed to.
    ///
    /// ```no_run
    /// # use almanet::Event;
    /// # #[derive(serde::Serialize, serde::Deserialize, Event)]
    /// # #[event(topic = "net.example.joined")]
    /// # struct UserJoined { name: String }
    /// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut joined = session.consume::<UserJoined>("mailer").await?;
    /// while let Some(event) = joined.recv().await {
    ///     let event = event?;
    ///     println!("welcome, {}", event.name);
    ///     event.ack()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConsumeError`] when a name is not valid or no broker took the subscription.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, nothing is left subscribed.
    pub async fn consume<E: Event>(&self, channel: impl AsRef<str>) -> Result<Consumer<E>, ConsumeError> {
        self.consume_topic(E::TOPIC, channel).await
    }

    /// Consumes `topic`, whose messages are values of `T`, as a member of `channel`.
    ///
    /// # Errors
    ///
    /// As [`Session::consume`].
    ///
    /// # Cancel safety
    ///
    /// As [`Session::consume`].
    pub async fn consume_topic<T: DeserializeOwned>(
        &self,
        topic: impl AsRef<str>,
        channel: impl AsRef<str>,
    ) -> Result<Consumer<T>, ConsumeError> {
        let (topic, channel) = (TopicName::new(topic)?, ChannelName::new(channel)?);
        let subscription = self
            .transport()
            .subscribe(&topic, &channel, SubscribeOptions::default())
            .await?;
        Ok(Consumer {
            topic,
            subscription,
            session: self.clone(),
            value: PhantomData,
        })
    }
}

/// A subscription whose messages are values of `T`.
///
/// Dropped, it is closed and what it had not handed out goes back to the broker.
#[must_use = "events arrive by `recv`"]
pub struct Consumer<T> {
    topic: TopicName,
    subscription: Subscription,
    session: Session,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Consumer<T> {
    /// The next event; `None` once the session has been left.
    ///
    /// A message that is no `T` comes as [`Undecodable`], so that it can be looked at and answered.
    ///
    /// # Cancel safety
    ///
    /// No event is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Result<Received<T>, Undecodable>> {
        let delivery = tokio::select! {
            biased;
            () = self.session.leaving().cancelled() => return None,
            delivery = self.subscription.recv() => delivery?,
        };
        // A lone byte can be a value of either codec: it is taken for this session's own.
        let codec = Codec::sniff(&delivery.body).unwrap_or(self.session.codec());
        Some(match codec.decode(&delivery.body) {
            Ok(value) => Ok(Received { value, delivery }),
            Err(source) => Err(Undecodable {
                topic: self.topic.clone(),
                source,
                delivery,
            }),
        })
    }

    /// Ends the consumer in order: what it had not handed out goes back to the broker, and events that were handed
    /// out are waited for.
    pub async fn close(self) {
        self.subscription.close().await;
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// An event that waits for an answer: [`ack`](Self::ack) or [`nack`](Self::nack). It derefs to its value.
///
/// Dropped unanswered, it is delivered again at once.
#[derive(Debug)]
#[must_use = "an event that is dropped unanswered is delivered again"]
pub struct Received<T> {
    value: T,
    delivery: Delivery,
}

impl<T> Received<T> {
    /// The event is dealt with.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the connection that brought the event is gone; it will be delivered again.
    pub fn ack(self) -> Result<(), AnswerError> {
        self.delivery.finish()
    }

    /// The event shall be delivered again, after `delay`.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the connection that brought the event is gone; it will be delivered again.
    pub fn nack(self, delay: Duration) -> Result<(), AnswerError> {
        self.delivery.requeue(delay)
    }

    /// How often the event has been delivered, this time included.
    pub fn attempts(&self) -> u16 {
        self.delivery.attempts
    }

    /// The message that carries the event, for what else there is to know or do.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
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
#[error("a message on {topic} is not of the type that is consumed")]
pub struct Undecodable {
    topic: TopicName,
    #[source]
    source: DecodeError,
    delivery: Delivery,
}

impl Undecodable {
    /// The message as it came.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Takes the message out of the channel, so that it is not delivered again.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the connection that brought the message is gone; it will be delivered again.
    pub fn discard(self) -> Result<(), AnswerError> {
        self.delivery.finish()
    }
}
