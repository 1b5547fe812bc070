//! Events: messages that tell what happened, to whoever wants to know.
//!
//! [`topics`] is what a consumer reads and [`incoming`] what becomes of a message before anybody sees it. From there events
//! are pulled ([`consume`], [`consumer`], [`received`], [`received_batch`], [`auto_ack`]) or [pushed](push), deferred by
//! [`retry`] when they [fail](failure), and given up as [dead letters](dead_letter). [`pattern`] and [`follow`] are for
//! many topics, [`batch`] for events that go out together, [`header`] for what travels with them.

mod auto_ack;
mod batch;
mod consume;
mod consumer;
mod dead_letter;
mod failure;
mod follow;
mod header;
mod incoming;
mod pattern;
mod push;
mod received;
mod received_batch;
mod retry;
mod topics;

pub use auto_ack::AutoAck;
pub use batch::Batch;
pub use consume::Consume;
pub use consumer::Consumer;
pub use dead_letter::{DeadLetter, DeadLetters, Reason, Replayed};
pub use failure::{Failure, HandlerResult};
pub(crate) use header::delayed;
pub use pattern::{InvalidPattern, TopicPattern};
pub(crate) use push::subscribe;
pub use push::{EventContext, PushConsumer};
pub use received::{Received, Undecodable};
pub use received_batch::ReceivedBatch;
pub use retry::EventRetry;

use serde::{Serialize, de::DeserializeOwned};

/// A type that is published to one topic, and read from it again.
///
/// `#[derive(Event)]` implements it: see [the derive macro](macro@crate::Event).
///
/// ```
/// use almanet::Event;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(topic = "net.example.joined")]
/// struct UserJoined {
///     name: String,
/// }
///
/// assert_eq!(UserJoined::TOPIC, "net.example.joined");
/// ```
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The topic that carries these events.
    const TOPIC: &'static str;

    /// The version of the type, for people and tools: `#[event(version = 2)]`. It does not travel, so a type whose new
    /// version cannot be read as the old one needs a topic of its own. 1 unless it is said.
    const VERSION: u32 = 1;
}
