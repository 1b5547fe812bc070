//! Publishing messages that want no answer.

use almanet_nsq::TopicName;
use bytes::Bytes;
use serde::Serialize;

use super::shared::Session;
use crate::{error::ProduceError, event::Event, telemetry::Produced, transport::Publication};

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
        self.publish(topic, body).await
    }

    /// Publishes a message whose body is written already.
    pub(crate) async fn publish(&self, topic: TopicName, body: Bytes) -> Result<(), ProduceError> {
        let counted = Produced::to(&topic);
        // Consumers have to expect duplicates anyway: NSQ delivers at least once.
        let publication = Publication::new(topic, body).allow_duplicates();
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
}
