//! Publishing messages that want no answer.

use std::time::Duration;

use almanet_nsq::TopicName;
use serde::Serialize;

use super::shared::Session;
use crate::{
    error::ProduceError,
    event::{Event, delayed},
    telemetry::Produced,
    transport::Publication,
    wire::{EventBody, Headers, Payload},
};

impl Session {
    /// Publishes `payload` to `topic`; returns once a broker has confirmed it.
    ///
    /// Where there are several brokers and one does not confirm, another is tried, so the message can come twice.
    ///
    /// The body of the message is the bare payload, in the session's codec, so that any NSQ consumer can read it.
    ///
    /// ```no_run
    /// # async fn example(session: almanet::Session) -> Result<(), almanet::ProduceError> {
    /// session.produce("net.example.joined", &"Aidar").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ProduceError`] when nothing was published, or when it is unknown whether it was
    /// ([`PublishError::Unconfirmed`](crate::transport::PublishError::Unconfirmed)).
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the message may or may not be published.
    pub async fn produce(
        &self,
        topic: impl AsRef<str>,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<(), ProduceError> {
        let topic = TopicName::new(topic)?;
        let body = self.codec().encode(payload)?;
        // Consumers have to expect duplicates anyway: NSQ delivers at least once.
        let publication = Publication::new(topic, body).allow_duplicates();
        self.publish(publication).await
    }

    /// Publishes messages whose bodies are written already.
    pub(crate) async fn publish(&self, publication: Publication) -> Result<(), ProduceError> {
        let counted = Produced::by(&publication);
        let outcome = self.transport().publish(publication).await;
        counted.ended(&outcome);
        Ok(outcome?)
    }

    /// Publishes an event to its topic; returns once a broker has confirmed it.
    ///
    /// # Errors
    ///
    /// As [`Session::produce`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the event may or may not be published.
    pub async fn emit<E: Event>(&self, event: &E) -> Result<(), ProduceError> {
        self.produce(E::TOPIC, event).await
    }

    /// Publishes an event to its topic that is delivered after `delay`, however long that is; returns once a broker has
    /// confirmed it.
    ///
    /// See [`Session::produce_after`].
    ///
    /// # Errors
    ///
    /// As [`Session::produce`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the event may or may not be published.
    pub async fn emit_after<E: Event>(&self, delay: Duration, event: &E) -> Result<(), ProduceError> {
        self.produce_after(E::TOPIC, delay, event).await
    }

    /// Publishes `payload` to `topic`, to be delivered after `delay`; returns once a broker has confirmed it.
    ///
    /// Brokers hold a message back for an hour at most
    /// ([`SessionBuilder::max_deferral`](crate::SessionBuilder::max_deferral)). What shall wait longer travels in an
    /// envelope that says so, and Almanet's consumers defer it until it is due; others see the envelope, an hour after it
    /// was published.
    ///
    /// # Errors
    ///
    /// As [`Session::produce`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the message may or may not be published.
    pub async fn produce_after(
        &self,
        topic: impl AsRef<str>,
        delay: Duration,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<(), ProduceError> {
        let topic = TopicName::new(topic)?;
        let payload = Payload::encode(self.codec(), payload)?;
        let longest = self.max_deferral();
        let headers = if delay > longest {
            delayed(delay)
        } else {
            Headers::new()
        };
        let body = EventBody::new(headers, payload).encode()?;
        let publication = Publication::new(topic, body)
            .after(delay.min(longest))
            .allow_duplicates();
        self.publish(publication).await
    }

    /// Publishes events of one type together, all or none (NSQ's MPUB); returns once a broker has confirmed them. No
    /// events are no error.
    ///
    /// ```no_run
    /// # use almanet::Event;
    /// # #[derive(serde::Serialize, serde::Deserialize, Event)]
    /// # #[event(topic = "net.example.joined")]
    /// # struct UserJoined { name: String }
    /// # async fn example(session: almanet::Session) -> Result<(), almanet::ProduceError> {
    /// let joined = ["Aidar", "Sara"].map(|name| UserJoined { name: name.into() });
    /// session.emit_all(&joined).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Session::produce`]. Together they may have 5 MiB, if the broker is not configured otherwise (nsqd's
    /// `--max-body-size`).
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the events may or may not be published.
    pub async fn emit_all<'a, E: Event>(
        &self,
        events: impl IntoIterator<Item = &'a E>,
    ) -> Result<(), ProduceError> {
        let topic = TopicName::new(E::TOPIC)?;
        let encoded: Result<Vec<_>, _> = events
            .into_iter()
            .map(|event| self.codec().encode(event))
            .collect();
        let bodies = encoded?;
        if bodies.is_empty() {
            return Ok(());
        }
        let publication = Publication::several(topic, bodies).allow_duplicates();
        self.publish(publication).await
    }

    /// Publishes `payload` to `topic` with `headers` beside it, in an envelope that Almanet's consumers unwrap; other
    /// consumers see the envelope. Without headers it is [`produce`](Self::produce). Names that begin with `almanet-` are
    /// Almanet's own.
    ///
    /// # Errors
    ///
    /// As [`Session::produce`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the message may or may not be published.
    pub async fn produce_with(
        &self,
        topic: impl AsRef<str>,
        headers: Headers,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<(), ProduceError> {
        let topic = TopicName::new(topic)?;
        let payload = Payload::encode(self.codec(), payload)?;
        let body = EventBody::new(headers, payload).encode()?;
        let publication = Publication::new(topic, body).allow_duplicates();
        self.publish(publication).await
    }
}
