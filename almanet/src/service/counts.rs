//! How many calls came to no ordinary end.

/// How many calls of one procedure this instance did not answer in the ordinary way, since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CallCounts {
    /// Finished without being run: the caller stopped waiting before, while the call was in the broker or waited here.
    pub expired: u64,
    /// Dropped while they ran, because the caller's time was up.
    pub timed_out: u64,
    /// Dropped while they ran or waited for their turn, because the caller gave them up.
    pub cancelled: u64,
    /// Answered with an error because there was too much to do.
    pub overloaded: u64,
    /// Answered with what another call with the same idempotency key had been answered.
    pub replayed: u64,
    /// Ended in an error that nobody is told of: the caller wanted no answer.
    pub unheard: u64,
}
