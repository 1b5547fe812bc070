//! How many calls came to no ordinary end.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many calls of one procedure this instance did not answer in the ordinary way, since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CallCounts {
    /// Finished without being run: the caller had stopped waiting before.
    pub expired: u64,
    /// Dropped while they ran, because the caller's time was up.
    pub timed_out: u64,
    /// Dropped while they ran, because the caller gave them up.
    pub cancelled: u64,
    /// Answered with an error because there was too much to do.
    pub overloaded: u64,
    /// Answered with what another call with the same idempotency key had been answered.
    pub replayed: u64,
    /// Ended in an error that nobody is told of: the caller wanted no answer.
    pub unheard: u64,
}

/// What is counted while a procedure is served.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) expired: Counter,
    pub(super) timed_out: Counter,
    pub(super) cancelled: Counter,
    pub(super) overloaded: Counter,
    pub(super) replayed: Counter,
    pub(super) unheard: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn read(&self) -> CallCounts {
        CallCounts {
            expired: self.expired.get(),
            timed_out: self.timed_out.get(),
            cancelled: self.cancelled.get(),
            overloaded: self.overloaded.get(),
            replayed: self.replayed.get(),
            unheard: self.unheard.get(),
        }
    }
}
