//! The headers by which events carry what consumers need to know. All others are the user's own.

use std::time::Duration;

use crate::wire::Headers;

/// What all of them begin with.
pub(super) const PREFIX: &str = "almanet-";

/// The only channel that the event is for; consumers of the topic's other channels pass over it.
pub(super) const CHANNEL: &str = "almanet-channel";
/// How many milliseconds after its publication the event shall be handled.
pub(super) const DELAY: &str = "almanet-delay-ms";

/// The version of the event's type, as its publisher knew it.
pub(super) const VERSION: &str = "almanet-event-version";

/// The replay that brought the event back, so that it does not take it for another dead letter when it fails again.
pub(super) const REPLAY: &str = "almanet-replay";

pub(super) const REASON: &str = "almanet-dead-reason";
pub(super) const ERROR: &str = "almanet-dead-error";
pub(super) const ATTEMPTS: &str = "almanet-dead-attempts";
pub(super) const ORIGIN_TOPIC: &str = "almanet-dead-topic";
pub(super) const ORIGIN_CHANNEL: &str = "almanet-dead-channel";
pub(super) const ORIGIN_NODE: &str = "almanet-dead-node";
pub(super) const FIRST: &str = "almanet-dead-first-ms";
pub(super) const LAST: &str = "almanet-dead-last-ms";

/// The delay in milliseconds that the header `name` holds.
pub(super) fn delay(headers: &Headers) -> Option<Duration> {
    headers.get(DELAY)?.parse().ok().map(Duration::from_millis)
}

/// Says in `headers` that the event shall be handled after `delay`.
pub(crate) fn delayed(headers: &mut Headers, delay: Duration) {
    headers.insert(DELAY, millis(delay));
}

/// The version of the event's type, when it travelled along.
pub(super) fn version(headers: &Headers) -> Option<u32> {
    headers.get(VERSION)?.parse().ok()
}

/// A time in whole milliseconds.
pub(super) fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// Those that are the user's own.
pub(super) fn users(headers: &Headers) -> Headers {
    let mut users = Headers::new();
    for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(PREFIX)) {
        users.insert(name, value);
    }
    users
}
