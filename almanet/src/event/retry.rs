//! When an event that failed is delivered again.

use std::{ops::RangeInclusive, time::Duration};

use almanet_nsq::MessageId;

/// How long an event waits before it is handled again, after each failure.
///
/// ```
/// use std::time::Duration;
/// use almanet::EventRetry;
///
/// // 1 s, 2 s, 4 s, ... up to 10 min, each shorter by chance.
/// let retry = EventRetry::exponential(Duration::from_secs(1)..=Duration::from_secs(600));
/// ```
///
/// A delay that is longer than the brokers hold messages back
/// ([`SessionBuilder::max_deferral`](crate::SessionBuilder::max_deferral), 1 h by default) is made of several: the event
/// is delivered in between and deferred again without being handled. Which delivery is which follows from their number
/// alone, so any instance of the consumer knows; one that is cut off in between makes the delay shorter by one step.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a retry policy is given to a consumer"]
pub struct EventRetry {
    first: Duration,
    longest: Duration,
    factor: f64,
    jitter: bool,
}

impl Default for EventRetry {
    /// Exponential, from 1 second to 10 minutes: ten attempts take about ten minutes, which is as long as a restart of
    /// a database or a roll-out takes.
    fn default() -> Self {
        Self::exponential(Duration::from_secs(1)..=Duration::from_secs(600))
    }
}

impl EventRetry {
    /// Twice as long after each failure, from the first delay to the longest. Up to half of each is taken off by
    /// chance, so that events which failed together do not come back together.
    pub fn exponential(delays: RangeInclusive<Duration>) -> Self {
        Self {
            first: *delays.start(),
            longest: *delays.end(),
            factor: 2.0,
            jitter: true,
        }
    }

    /// The same delay after each failure, exactly.
    pub fn fixed(delay: Duration) -> Self {
        Self {
            first: delay,
            longest: delay,
            factor: 1.0,
            jitter: false,
        }
    }

    /// No delay.
    pub fn immediately() -> Self {
        Self::fixed(Duration::ZERO)
    }

    /// The delay after the failure of the `run`th time that the message `id` was handled.
    ///
    /// The chance is drawn from the message's id, so that every instance draws the same.
    pub(super) fn delay(&self, run: u32, id: MessageId) -> Duration {
        let doublings = i32::try_from(run.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.first.as_secs_f64() * self.factor.powi(doublings);
        let whole = Duration::try_from_secs_f64(grown)
            .unwrap_or(self.longest)
            .min(self.longest);
        if !self.jitter {
            return whole;
        }
        let bytes = id.as_bytes().iter();
        let seed = bytes.fold(u64::from(run), |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(u64::from(*byte))
        });
        whole.mul_f64(1.0 - fastrand::Rng::with_seed(seed).f64() / 2.0)
    }

    /// What the delivery number `attempts` of the message `id` is for, where brokers hold messages back for `step` at
    /// most.
    #[inline]
    pub(super) fn place(&self, attempts: u32, id: MessageId, step: Duration) -> Place {
        if self.longest <= step {
            return Place::Run(attempts.max(1));
        }
        self.place_among_steps(attempts, id, step)
    }

    fn place_among_steps(&self, attempts: u32, id: MessageId, step: Duration) -> Place {
        let mut run = 1;
        let mut first_of_run = 1;
        while first_of_run < attempts {
            let delay = self.delay(run, id);
            let steps = steps(delay, step);
            if attempts < first_of_run.saturating_add(steps) {
                return Place::Wait(delay.saturating_sub(step.saturating_mul(attempts - first_of_run)));
            }
            first_of_run = first_of_run.saturating_add(steps);
            run += 1;
        }
        Place::Run(run)
    }
}

/// How many times `step` a delay takes, at least one.
pub(super) fn steps(delay: Duration, step: Duration) -> u32 {
    let steps = delay.as_nanos().div_ceil(step.as_nanos().max(1));
    u32::try_from(steps).unwrap_or(u32::MAX).max(1)
}

/// What a delivery is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// To be handled, for this time.
    Run(u32),
    /// To be deferred again: this much of the delay is left.
    Wait(Duration),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn delays_double_up_to_the_longest_and_chance_takes_half_at_most() {
        let retry = EventRetry::exponential(SECOND..=8 * SECOND);
        for (run, whole) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (u32::MAX, 8)] {
            let delays: Vec<_> = (0..50)
                .map(|number| retry.delay(run, MessageId::from_number(number)))
                .collect();
            let whole = whole * SECOND;
            assert!(
                delays.iter().all(|delay| (whole / 2..=whole).contains(delay)),
                "{delays:?}"
            );
            assert!(delays.iter().any(|delay| *delay < whole * 5 / 8), "{delays:?}");
            assert!(delays.iter().any(|delay| *delay > whole * 7 / 8), "{delays:?}");
        }
    }

    #[test]
    fn a_long_delay_is_made_of_steps_that_are_not_runs() {
        let retry = EventRetry::fixed(HOUR * 5 / 2);
        let place = |attempts| retry.place(attempts, MessageId::from_number(7), HOUR);
        assert_eq!(place(1), Place::Run(1));
        assert_eq!(place(2), Place::Wait(HOUR * 3 / 2));
        assert_eq!(place(3), Place::Wait(HOUR / 2));
        assert_eq!(place(4), Place::Run(2));
        assert_eq!(place(5), Place::Wait(HOUR * 3 / 2));
        assert_eq!(place(7), Place::Run(3));
    }

    #[test]
    fn what_a_broker_can_hold_needs_no_steps() {
        let retry = EventRetry::fixed(HOUR);
        for attempts in 1..5 {
            assert_eq!(
                retry.place(attempts, MessageId::from_number(7), HOUR),
                Place::Run(attempts)
            );
        }
    }

    proptest! {
        #[test]
        fn the_steps_add_up_to_the_delay(first in 1..10_000u64, longest in 1..1_000_000u64, step in 100..10_000u64, number: u64) {
            let id = MessageId::from_number(number);
            let retry = EventRetry::exponential(Duration::from_millis(first)..=Duration::from_millis(longest));
            let step = Duration::from_millis(step);
            let (mut run, mut waited) = (1, Duration::ZERO);
            let mut deferral = retry.delay(1, id).min(step);
            for attempts in 2..200 {
                waited += deferral;
                match retry.place(attempts, id, step) {
                    Place::Run(next) => {
                        prop_assert_eq!(next, run + 1);
                        prop_assert_eq!(waited, retry.delay(run, id));
                        run = next;
                        waited = Duration::ZERO;
                        deferral = retry.delay(run, id).min(step);
                    }
                    Place::Wait(rest) => {
                        prop_assert_eq!(waited + rest, retry.delay(run, id));
                        deferral = rest.min(step);
                    }
                }
            }
        }
    }
}
