//! A channel as it is at one moment.

use std::time::Instant;

#[cfg(feature = "http")]
use super::LatencyReport;
use super::{Channel, Counts, Outlet, SubscriberId};

/// What statistics say of a channel.
#[derive(Debug, Clone)]
pub(crate) struct ChannelReport {
    /// Messages that wait, without the deferred ones.
    pub(crate) depth: usize,
    pub(crate) deferred: usize,
    pub(crate) in_flight: usize,
    pub(crate) is_paused: bool,
    pub(crate) counts: Counts,
    /// In the order in which they connected.
    pub(crate) subscribers: Vec<SubscriberReport>,
    /// `None` when it is not measured.
    #[cfg(feature = "http")]
    pub(crate) latency: Option<LatencyReport>,
}

/// What statistics say of a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubscriberReport {
    pub(crate) id: SubscriberId,
    pub(crate) ready: u64,
    pub(crate) in_flight: u64,
    pub(crate) delivered: u64,
    pub(crate) finished: u64,
    pub(crate) requeued: u64,
    /// Whether it has sent CLS.
    pub(crate) is_closing: bool,
}

impl<O: Outlet> Channel<O> {
    pub(crate) fn report(&self, now: Instant) -> ChannelReport {
        #[cfg(not(feature = "http"))]
        let _ = now;
        let mut subscribers: Vec<_> = self
            .subscribers
            .iter()
            .map(|(id, subscriber)| subscriber.report(*id))
            .collect();
        subscribers.sort_unstable_by_key(|subscriber| subscriber.id);
        ChannelReport {
            depth: self.queue.len(),
            deferred: self.deferred.len(),
            in_flight: self.in_flight.len(),
            is_paused: self.paused,
            counts: self.counts,
            subscribers,
            #[cfg(feature = "http")]
            latency: self.latency.as_ref().map(|latency| latency.report(now)),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}
