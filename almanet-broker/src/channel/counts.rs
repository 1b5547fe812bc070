//! What a channel has done so far.

use std::ops::AddAssign;

/// Counts since the channel was made. They only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Messages that came in; one that is requeued does not count again.
    pub(crate) messages: u64,
    /// Messages that were sent to subscribers, each time.
    pub(crate) delivered: u64,
    /// The bodies of those, in bytes.
    pub(crate) delivered_bytes: u64,
    /// Messages that were finished.
    pub(crate) finished: u64,
    /// Messages that a subscriber gave back.
    pub(crate) requeued: u64,
    /// Messages that were not answered in time, or whose subscriber's connection ended.
    pub(crate) timed_out: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.finished += other.finished;
        self.requeued += other.requeued;
        self.timed_out += other.timed_out;
    }
}

impl Counts {
    /// The larger of each count.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            messages: self.messages.max(other.messages),
            delivered: self.delivered.max(other.delivered),
            delivered_bytes: self.delivered_bytes.max(other.delivered_bytes),
            finished: self.finished.max(other.finished),
            requeued: self.requeued.max(other.requeued),
            timed_out: self.timed_out.max(other.timed_out),
        }
    }
}
