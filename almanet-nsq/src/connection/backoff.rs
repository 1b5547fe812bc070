//! How long to wait before connecting again.

use std::{ops::RangeInclusive, time::Duration};

/// Delays that double from the shortest to the longest, half of each left to chance.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

/// No delay is shorter, or a broker that refuses at once would be asked in a busy loop.
const SHORTEST: Duration = Duration::from_millis(1);

impl Backoff {
    pub(super) fn new(range: RangeInclusive<Duration>) -> Self {
        let first = (*range.start()).max(SHORTEST);
        Self {
            first,
            longest: (*range.end()).max(first),
            next: first,
        }
    }

    /// The delay after one more failure.
    pub(super) fn delay(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.longest);
        whole.mul_f64(0.5 + 0.5 * fastrand::f64())
    }

    /// Starts anew with the shortest delay.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_vary_by_half() {
        let millis = Duration::from_millis;
        let mut backoff = Backoff::new(millis(50)..=millis(300));
        for whole in [50, 100, 200, 300, 300] {
            let delay = backoff.delay();
            assert!(
                (millis(whole) / 2..=millis(whole)).contains(&delay),
                "{delay:?} is not within half of {whole} ms"
            );
        }
        backoff.reset();
        assert!(backoff.delay() <= millis(50));
    }

    #[test]
    fn delays_of_many_who_lost_the_same_broker_spread_over_half_of_the_time() {
        let second = Duration::from_secs(1);
        let mut delays: Vec<Duration> = (0..1000).map(|_| Backoff::new(second..=second).delay()).collect();
        delays.sort();
        // Of a thousand, each tenth of the half second has its share of a hundred, more or less.
        for tenth in 0..10 {
            let begin = second / 2 + second / 20 * tenth;
            let within = delays
                .iter()
                .filter(|delay| (begin..begin + second / 20).contains(delay));
            let count = within.count();
            assert!(
                (40..200).contains(&count),
                "{count} of 1000 within 50 ms of {begin:?}"
            );
        }
    }
}
