//! Events: messages that tell what happened, to whoever wants to know.
//!
//! [`topics`] is what a consumer reads and [`incoming`] what becomes of a message before anybody sees it. From there events
//! are pulled ([`consume`], [`consumer`], [`received`], [`received_batch`], [`auto_ack`]) or [pushed](push), deferred by
//! [`retry`] when they [fail](failure), and given up as [dead letters](dead_letter). [`pattern`] and [`follow`] are for
//! many topics, [`outgoing`] for what is published, [`batch`] for events that go out together, [`header`] for what travels
//! with them.

mod auto_ack;
mod batch;
mod consume;
mod consumer;
mod dead_letter;
mod failure;
mod follow;
mod header;
mod incoming;
mod outgoing;
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
pub(crate) use outgoing::Outgoing;
pub use pattern::{InvalidPattern, TopicPattern};
pub use push::{EventContext, EventHandler, IncomingEvent, PushConsumer};
pub(crate) use push::{ShownConsumer, subscribe};
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
///
/// # Versions
///
/// Publishers and consumers are not rolled out together, so a topic carries several versions for a while. What serde can
/// read is the same event: a consumer passes over fields that it does not know, and a field with `#[serde(default)]`, or
/// an `Option`, may be missing. So fields can be added in this way, in any order of rolling out. A change that the other
/// side cannot read (a field that must be there, another type or name) needs a topic of its own; published to the old one,
/// its events are dead letters there.
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The topic that carries these events.
    const TOPIC: &'static str;

    /// The version of the type, for people and tools: `#[event(version = 2)]`. 1 unless it is said.
    ///
    /// Nothing is decided by it. It is shown where services are listed
    /// ([`Introspection::event_schemas`](crate::Introspection::event_schemas)), and travels with events that travel in an
    /// envelope ([`EventContext::event_version`](crate::EventContext::event_version)); a bare payload does not carry it.
    const VERSION: u32 = 1;

    /// The JSON Schema (draft 2020-12) of the events, as they are read. `None` unless the type says, which
    /// `#[derive(Event)]` does for types that implement `JsonSchema` of [`schemars`](crate::schemars).
    ///
    /// ```
    /// use almanet::{Event, schemars};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize, Event, schemars::JsonSchema)]
    /// #[schemars(crate = "almanet::schemars")]
    /// #[event(topic = "net.example.joined")]
    /// struct UserJoined {
    ///     name: String,
    /// }
    ///
    /// let schema = UserJoined::schema().unwrap();
    /// assert_eq!(schema["properties"]["name"]["type"], "string");
    /// ```
    fn schema() -> Option<serde_json::Value> {
        None
    }
}
