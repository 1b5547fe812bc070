//! How long an invocation is worth running, as the Python package writes it.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is written for calls that wait for as long as it takes: a year. The package takes no key for 60 seconds,
/// `null` for no invocation at all, and cannot add what leads beyond the year 9999 to a date.
const UNLIMITED_SECONDS: u64 = 365 * 24 * 60 * 60;

/// The key `expires`: seconds from when the message was published. A Python service answers nobody after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Expires(pub(super) Option<Duration>);

/// Whole seconds, since the package takes an invocation with a fraction for none. Rounded up: its caller, who knows
/// better, gives up first.
impl Serialize for Expires {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = self.0.map_or(UNLIMITED_SECONDS, |timeout| {
            let begun = u64::from(timeout.subsec_nanos() > 0);
            timeout.as_secs().saturating_add(begun).min(UNLIMITED_SECONDS)
        });
        serializer.serialize_u64(seconds)
    }
}

/// Any number or `null`: a Python caller may wait for half a second, or without an end.
impl<'de> Deserialize<'de> for Expires {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
        Ok(Self(
            timeout.filter(|timeout| timeout.as_secs() < UNLIMITED_SECONDS),
        ))
    }
}
