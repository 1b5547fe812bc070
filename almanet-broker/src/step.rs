//! One step of work: what one read brought, or what one alarm set off.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::client::Touched;

/// The time of a step, asked once, and the outputs that it wrote to, each woken once at its end.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) now: Instant,
    /// Nanoseconds since 1970: the timestamp of messages that are published in this step.
    pub(crate) timestamp: i64,
    pub(crate) touched: Touched,
}

impl Step {
    pub(crate) fn begin() -> Self {
        Self {
            now: Instant::now(),
            timestamp: unix_nanos(),
            touched: Touched::default(),
        }
    }

    /// Sends what was written.
    pub(crate) fn end(self) {
        self.touched.flush();
    }
}

/// Nanoseconds since 1970.
pub(crate) fn unix_nanos() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
