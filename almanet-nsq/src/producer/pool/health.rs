//! How far a node is trusted.

use std::{
    ops::RangeInclusive,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// Whether a node failed lately, and until when it is avoided. Times are counted from the pool's start.
///
/// A node that confirms everything costs two reads for each publish.
#[derive(Debug)]
pub(super) struct Health {
    avoid: RangeInclusive<Duration>,
    /// How often it failed since it last confirmed something, probes that are under way included.
    failures: AtomicU32,
    /// In milliseconds.
    avoided_until: AtomicU64,
}

impl Health {
    /// A node that is avoided until then, though it has not failed.
    pub(super) fn new(avoid: RangeInclusive<Duration>, avoided_until: Duration) -> Self {
        Self {
            avoid,
            failures: AtomicU32::new(0),
            avoided_until: AtomicU64::new(millis(avoided_until)),
        }
    }

    /// Whether a publish may go there at `now`. After a failure and the time that follows it, one may: the probe.
    ///
    /// The clock is read only where it matters, which it does not for a node that confirms everything.
    pub(super) fn admits(&self, now: impl FnOnce() -> Duration) -> bool {
        if self.is_trusted() {
            return true;
        }
        let now = now();
        let until = self.avoided_until.load(Ordering::Acquire);
        if millis(now) < until {
            return false;
        }
        let failures = self.failures.load(Ordering::Acquire);
        if failures == 0 {
            return true;
        }
        let is_probe = self
            .avoided_until
            .compare_exchange(
                until,
                self.avoided_after(failures, now),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_ok();
        if is_probe {
            self.failures.store(failures.saturating_add(1), Ordering::Release);
        }
        is_probe
    }

    /// Whether it confirms everything, so that a further confirmation says nothing new.
    pub(super) fn is_trusted(&self) -> bool {
        self.avoided_until.load(Ordering::Acquire) == 0 && self.failures.load(Ordering::Acquire) == 0
    }

    pub(super) fn is_avoided(&self, now: Duration) -> bool {
        millis(now) < self.avoided_until.load(Ordering::Acquire)
    }

    /// It confirmed a publish.
    pub(super) fn confirmed(&self) {
        if self.failures.load(Ordering::Acquire) != 0 {
            self.failures.store(0, Ordering::Release);
            self.avoided_until.store(0, Ordering::Release);
        }
    }

    /// It failed. Many publishes can fail for one reason, so what fails while the node is avoided counts no more.
    pub(super) fn failed(&self, now: Duration) {
        let until = self.avoided_until.load(Ordering::Acquire);
        let failures = self.failures.load(Ordering::Acquire);
        if failures > 0 && millis(now) < until {
            return;
        }
        let next = self.avoided_after(failures, now);
        if self
            .avoided_until
            .compare_exchange(until, next, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            self.failures.store(failures.saturating_add(1), Ordering::Release);
        }
    }

    /// Until when it is avoided after one failure more than so many.
    fn avoided_after(&self, failures: u32, now: Duration) -> u64 {
        let doubled = 2_u32.saturating_pow(failures.min(31));
        let time = self.avoid.start().saturating_mul(doubled);
        millis(now.saturating_add(time.min(*self.avoid.end())))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn health() -> Health {
        Health::new(secs(1)..=secs(4), Duration::ZERO)
    }

    #[test]
    fn a_node_that_failed_is_avoided_and_then_probed_by_one_publish() {
        let health = health();
        assert!(health.admits(|| secs(10)) && health.admits(|| secs(10)));
        health.failed(secs(10));
        assert!(health.is_avoided(secs(10)));
        assert!(!health.admits(|| Duration::from_millis(10_999)));
        assert!(health.admits(|| secs(11)), "the probe");
        assert!(!health.admits(|| secs(11)), "there is one probe");
        health.confirmed();
        assert!(health.admits(|| secs(11)) && health.admits(|| secs(11)));
        assert!(!health.is_avoided(secs(11)));
    }

    #[test]
    fn the_time_doubles_with_each_probe_that_fails_up_to_the_longest() {
        let health = health();
        health.failed(secs(0));
        let mut now = secs(1);
        for time in [2, 4, 4, 4] {
            assert!(health.admits(|| now));
            health.failed(now);
            now += secs(time);
            assert!(!health.admits(|| now - Duration::from_millis(1)), "{time}");
        }
        assert!(health.admits(|| now));
    }

    #[test]
    fn what_fails_together_counts_once() {
        let health = health();
        for _ in 0..100 {
            health.failed(secs(0));
        }
        assert!(health.admits(|| secs(1)));
    }

    #[test]
    fn a_node_that_settles_is_avoided_without_a_failure() {
        let health = Health::new(secs(1)..=secs(4), secs(60));
        assert!(!health.admits(|| secs(59)));
        health.confirmed();
        assert!(!health.admits(|| secs(59)), "that it works was not in question");
        assert!(health.admits(|| secs(60)) && health.admits(|| secs(60)));
    }
}
