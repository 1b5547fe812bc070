//! Putting an event aside.

use almanet_nsq::{ChannelName, InvalidName, TopicName};

use super::letter::Reason;
use crate::{
    error::ProduceError,
    event::{
        header,
        incoming::{Incoming, now, published},
    },
    session::Session,
    transport::{Publication, SubscribeOptions},
    wire::{Codec, EventBody, Payload},
};

/// What is appended to the name of a topic for that of its dead letters.
const SUFFIX: &str = ".dlq";
const EPHEMERAL: &str = "#ephemeral";

/// The channel on which dead letters wait.
pub(super) const CHANNEL: &str = "almanet";

/// Longer errors are cut off: they have to fit beside a payload of whatever size.
const MAX_ERROR_BYTES: usize = 1024;

/// The topic of the dead letters of `topic`. It is durable also where `topic` is not: they are there to be looked at.
pub(in crate::event) fn dead_letter_topic(topic: &TopicName) -> Result<TopicName, InvalidName> {
    let stem = topic.as_str().strip_suffix(EPHEMERAL).unwrap_or(topic.as_str());
    TopicName::new(format!("{stem}{SUFFIX}"))
}

/// Why and whence an event is put aside.
pub(in crate::event) struct Burial<'a> {
    pub(in crate::event) topic: &'a TopicName,
    pub(in crate::event) channel: &'a ChannelName,
    pub(in crate::event) reason: Reason,
    pub(in crate::event) error: &'a str,
    /// How often it was handled.
    pub(in crate::event) attempts: u32,
}

impl Burial<'_> {
    /// Publishes the event to the dead letters of its topic; returns once that is confirmed. The message itself is left
    /// as it is, for the caller to finish.
    pub(in crate::event) async fn publish(
        &self,
        session: &Session,
        event: &Incoming,
    ) -> Result<(), ProduceError> {
        let topic = dead_letter_topic(self.topic)?;
        // What is broken is kept as it came.
        let (codec, bytes) = event
            .payload()
            .unwrap_or((Codec::MessagePack, &event.delivery.body));
        let payload = Payload::from_bytes(codec, bytes.clone());
        let came = event.headers();
        let mut headers = header::users(came);
        for kept in [header::REPLAY, header::VERSION] {
            if let Some(value) = came.get(kept) {
                headers.insert(kept, value);
            }
        }
        headers.insert(header::REASON, self.reason.as_str());
        headers.insert(header::ERROR, beginning(self.error, MAX_ERROR_BYTES));
        headers.insert(header::ATTEMPTS, self.attempts.to_string());
        headers.insert(header::ORIGIN_TOPIC, self.topic.as_str());
        headers.insert(header::ORIGIN_CHANNEL, self.channel.as_str());
        headers.insert(header::ORIGIN_NODE, &*event.delivery.node);
        headers.insert(header::FIRST, header::millis(published(&event.delivery)));
        headers.insert(header::LAST, header::millis(now()));

        let body = EventBody::new(headers, payload).encode()?;
        see_to_channel(session, &topic).await;
        let publication = Publication::new(topic, body).allow_duplicates();
        Ok(session.publish_in(None, publication).await?)
    }
}

/// Makes the channel on which dead letters wait, before there is any other: the first channel of a topic takes all that is
/// there, so letters would be lost to a monitor that happens to look first.
async fn see_to_channel(session: &Session, topic: &TopicName) {
    if session.dead_letter_topics().contains(topic) {
        return;
    }
    let Ok(channel) = ChannelName::new(CHANNEL) else {
        return;
    };
    let options = SubscribeOptions {
        max_in_flight: 1,
        ..SubscribeOptions::default()
    };
    match session.transport().subscribe(topic, &channel, options).await {
        Ok(subscription) => {
            subscription.close().await;
            session.dead_letter_topics().insert(topic.clone());
        }
        Err(error) => tracing::debug!(%topic, %error, "the channel of dead letters is not made yet"),
    }
}

/// The beginning of `text`, at most `limit` bytes, cut between characters.
fn beginning(text: &str, limit: usize) -> &str {
    (0..=limit.min(text.len()))
        .rev()
        .find_map(|end| text.get(..end))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_have_a_durable_topic_beside_their_own() {
        for (topic, dead) in [("orders", "orders.dlq"), ("orders#ephemeral", "orders.dlq")] {
            let topic = TopicName::new(topic).unwrap();
            assert_eq!(dead_letter_topic(&topic).unwrap().as_str(), dead);
        }
        assert!(dead_letter_topic(&TopicName::new("a".repeat(60)).unwrap()).is_ok());
        assert!(dead_letter_topic(&TopicName::new("a".repeat(61)).unwrap()).is_err());
    }

    #[test]
    fn an_error_is_cut_between_characters() {
        assert_eq!(beginning("aä", 2), "a");
        assert_eq!(beginning("aä", 3), "aä");
        assert_eq!(beginning("aä", 9), "aä");
    }
}
