//! What is known of an event that was given up.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use almanet_nsq::MessageId;
use serde::de::DeserializeOwned;

use crate::{
    event::{header, incoming::published},
    transport::Delivery,
    wire::{Codec, DecodeError, EventBody, Headers, Payload},
};

/// Why an event was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The handler said that no later attempt would do better.
    Permanent,
    /// It was handled as often as the consumer allows, and failed each time.
    Attempts,
    /// The body is no event of the consumer's type.
    Undecodable,
    /// Somebody else put the message here, or a later version did.
    Unknown,
}

impl Reason {
    /// The reason as it travels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Attempts => "attempts",
            Self::Undecodable => "undecodable",
            Self::Unknown => "unknown",
        }
    }

    fn read(text: Option<&str>) -> Self {
        let known = [Self::Permanent, Self::Attempts, Self::Undecodable];
        known
            .into_iter()
            .find(|reason| Some(reason.as_str()) == text)
            .unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An event that was given up: what it was, why, and where it came from.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    id: MessageId,
    published: Duration,
    body: EventBody,
}

impl DeadLetter {
    pub(super) fn new(delivery: &Delivery) -> Self {
        // What is no letter of ours is shown as it came, so that it can be looked at and discarded.
        let body = EventBody::decode(&delivery.body, Codec::MessagePack).unwrap_or_else(|_| {
            EventBody::new(
                Headers::new(),
                Payload::from_bytes(Codec::MessagePack, delivery.body.clone()),
            )
        });
        Self {
            id: delivery.id,
            published: published(delivery),
            body,
        }
    }

    /// The broker's name for the letter. It stays the same while the letter lies there.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// Why the event was given up.
    pub fn reason(&self) -> Reason {
        Reason::read(self.header(header::REASON))
    }

    /// The last error, in the handler's words.
    pub fn error(&self) -> &str {
        self.header(header::ERROR).unwrap_or_default()
    }

    /// How often the event was handled; 0 when the letter does not say.
    pub fn attempts(&self) -> u32 {
        self.header(header::ATTEMPTS)
            .and_then(|attempts| attempts.parse().ok())
            .unwrap_or(0)
    }

    /// The topic that the event was published to; empty when the letter does not say.
    pub fn topic(&self) -> &str {
        self.header(header::ORIGIN_TOPIC).unwrap_or_default()
    }

    /// The channel whose consumer gave the event up; empty when the letter does not say.
    pub fn channel(&self) -> &str {
        self.header(header::ORIGIN_CHANNEL).unwrap_or_default()
    }

    /// The node that delivered the event last; empty when the letter does not say.
    pub fn node(&self) -> &str {
        self.header(header::ORIGIN_NODE).unwrap_or_default()
    }

    /// The version of the event's type that its publisher had, if the event travelled with it.
    pub fn event_version(&self) -> Option<u32> {
        header::version(&self.body.headers)
    }

    /// When the event was published, by the broker's clock.
    pub fn first_seen(&self) -> SystemTime {
        self.time(header::FIRST)
    }

    /// When the event was given up, by the consumer's clock.
    pub fn given_up(&self) -> SystemTime {
        self.time(header::LAST)
    }

    /// The headers that the event was published with.
    pub fn headers(&self) -> Headers {
        header::users(&self.body.headers)
    }

    /// The event, not yet read.
    pub fn payload(&self) -> &Payload {
        &self.body.payload
    }

    /// Reads the event.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] names the field that does not fit and the reason.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.body.payload.decode()
    }

    /// Whether the event is here because it failed again after it was replayed by `replay`.
    pub(super) fn came_back_from(&self, replay: &str) -> bool {
        self.header(header::REPLAY) == Some(replay)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.body.headers.get(name)
    }

    /// The time in a header, or when the letter itself was published.
    fn time(&self, name: &str) -> SystemTime {
        let since_1970 = self
            .header(name)
            .and_then(|millis| millis.parse().ok())
            .map_or(self.published, Duration::from_millis);
        SystemTime::UNIX_EPOCH
            .checked_add(since_1970)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}
