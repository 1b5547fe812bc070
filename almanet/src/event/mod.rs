//! Events: messages that tell what happened, to whoever wants to know.

mod consumer;

pub use consumer::{Consumer, Received, Undecodable};

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
}
