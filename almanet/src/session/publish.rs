//! Publishing messages that want no answer.

use std::time::Duration;

use almanet_nsq::TopicName;
use serde::Serialize;

use super::shared::Session;
use crate::{
    error::ProduceError,
    event::{Event, Outgoing, delayed},
    telemetry::{EmitSpan, Produced},
    transport::{Publication, PublishError},
    wire::Headers,
};

/// What is said of messages beside what they hold.
#[derive(Default)]
pub(crate) struct Manner {
    headers: Headers,
    /// Of the type, when it is an [`Event`].
    version: Option<u32>,
    delay: Option<Duration>,
}

impl Manner {
    /// An event of this type.
    pub(crate) fn of<E: Event>() -> Self {
        Self {
            version: Some(E::VERSION),
            ..Self::default()
        }
    }
}

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
        self.write(TopicName::new(topic)?, Manner::default(), payload)
            .await
    }

    async fn write(
        &self,
        topic: TopicName,
        manner: Manner,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<(), ProduceError> {
        let (span, publication) = self.prepare(topic, manner, payload)?;
        Ok(self.publish_in(span, publication).await?)
    }

    /// The message that carries `payload`, and the span that it is to be published in.
    pub(crate) fn prepare(
        &self,
        topic: TopicName,
        manner: Manner,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<(Option<EmitSpan>, Publication), ProduceError> {
        let Manner {
            mut headers,
            version,
            delay,
        } = manner;
        let longest = self.max_deferral();
        if let Some(delay) = delay.filter(|delay| *delay > longest) {
            delayed(&mut headers, delay);
        }
        let span = EmitSpan::open(&topic, self.event_traces(), &mut headers);
        let body = Outgoing::new(self.codec(), headers, version).body(payload)?;
        let mut publication = Publication::new(topic, body);
        publication.delay = delay.map(|delay| delay.min(longest));
        Ok((span, publication))
    }

    /// Publishes messages whose bodies are written already, in their span if there is one. That is boxed, so that what
    /// nobody looks at carries none of it.
    pub(crate) async fn publish_in(
        &self,
        span: Option<EmitSpan>,
        publication: Publication,
    ) -> Result<(), PublishError> {
        // Consumers have to expect duplicates anyway: NSQ delivers at least once.
        let publishing = self.publish(publication.allow_duplicates());
        match span {
            None => publishing.await,
            Some(span) => Box::pin(span.watch(publishing)).await,
        }
    }

    /// Publishes messages whose bodies are written already.
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let counted = Produced::by(&publication);
        let outcome = self.transport().publish(publication).await;
        counted.ended(&outcome);
        outcome
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
        self.write(TopicName::new(E::TOPIC)?, Manner::of::<E>(), event)
            .await
    }

    /// Publishes an event to its topic with `headers` beside it; returns once a broker has confirmed it. See
    /// [`produce_with`](Self::produce_with).
    ///
    /// # Errors
    ///
    /// As [`Session::produce`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the event may or may not be published.
    pub async fn emit_with<E: Event>(&self, headers: Headers, event: &E) -> Result<(), ProduceError> {
        let manner = Manner {
            headers,
            ..Manner::of::<E>()
        };
        self.write(TopicName::new(E::TOPIC)?, manner, event).await
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
        let manner = Manner {
            delay: Some(delay),
            ..Manner::of::<E>()
        };
        self.write(TopicName::new(E::TOPIC)?, manner, event).await
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
        let manner = Manner {
            delay: Some(delay),
            ..Manner::default()
        };
        self.write(TopicName::new(topic)?, manner, payload).await
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
        let mut events = events.into_iter().peekable();
        if events.peek().is_none() {
            return Ok(());
        }
        let mut headers = Headers::new();
        let span = EmitSpan::open(&topic, self.event_traces(), &mut headers);
        let outgoing = Outgoing::new(self.codec(), headers, Some(E::VERSION));
        let encoded: Result<Vec<_>, _> = events.map(|event| outgoing.body(event)).collect();
        let bodies = encoded?;
        Ok(self.publish_in(span, Publication::several(topic, bodies)).await?)
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
        let manner = Manner {
            headers,
            ..Manner::default()
        };
        self.write(TopicName::new(topic)?, manner, payload).await
    }
}
