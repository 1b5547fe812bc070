//! What arrivals tell: how fast messages come, and how long they have queued.

use std::time::Duration;

use tokio::time::Instant;

/// How many messages come in which time, as lately as can be said.
#[derive(Debug, Default)]
pub(super) struct Rate {
    messages: f64,
    seconds: f64,
}

impl Rate {
    /// What came before counts half as much after each of these times.
    const MEMORY: f64 = 2e-3;

    pub(super) fn count(&mut self, messages: usize, since_last: Duration) {
        self.messages += messages as f64;
        self.seconds += since_last.as_secs_f64();
        while self.seconds > 2.0 * Self::MEMORY {
            self.seconds /= 2.0;
            self.messages /= 2.0;
        }
    }

    /// How many messages come within `time`.
    pub(super) fn within(&self, time: Duration) -> usize {
        (self.messages * time.as_secs_f64() / self.seconds.max(1e-6)) as usize
    }
}

/// How long it takes until a broker is heard that has something to send.
#[derive(Debug, Default)]
pub(super) struct RoundTrip(Option<Duration>);

impl RoundTrip {
    /// A message that had waited for it came `after` the broker was told that it may send.
    pub(super) fn took(&mut self, after: Duration) {
        self.0 = Some(match self.0 {
            // One that was late by chance does not count for much.
            Some(mean) => (mean * 7 + after) / 8,
            None => after,
        });
    }

    /// What it takes on average, late ones counting more than early ones; nothing before any came.
    pub(super) fn mean(&self) -> Duration {
        self.0.unwrap_or_default()
    }
}

/// For how long the smallest age counts, at least; at most twice as long.
const SPAN: Duration = Duration::from_secs(2);

/// Ages that fall so often in a row belong to a backlog that is worked off: the smallest tells nothing then.
const FALLS: u32 = 4;

/// How long messages queue: by how much their age is above the smallest age seen recently.
///
/// An age holds the offset between two clocks, which is unknown but the same for all messages. It drifts, by less
/// than a tenth of a millisecond in a second, so the smallest age must not be remembered for long.
#[derive(Debug)]
pub(super) struct Delays {
    since: Instant,
    current: i64,
    previous: i64,
    /// Ages in a row that were smaller than all before.
    falls: u32,
    mean: Duration,
}

impl Delays {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            current: i64::MAX,
            previous: i64::MAX,
            falls: 0,
            mean: Duration::ZERO,
        }
    }

    /// By how much `age` is above the smallest; `None` if it is not, and if that is not the first time.
    pub(super) fn delay(&mut self, now: Instant, age: i64) -> Option<Duration> {
        if now.duration_since(self.since) >= SPAN {
            self.since = now;
            self.previous = self.current;
            self.current = i64::MAX;
        }
        let floor = self.current.min(self.previous);
        self.current = self.current.min(age);
        self.falls = if age < floor { self.falls + 1 } else { 0 };
        if self.falls >= FALLS {
            return None;
        }
        let nanos = u64::try_from(age.saturating_sub(floor)).unwrap_or_default();
        let delay = Duration::from_nanos(nanos);
        self.mean = (self.mean.saturating_mul(15).saturating_add(delay)) / 16;
        Some(delay)
    }

    /// What the last delays were on average, late ones more than early ones.
    pub(super) fn mean(&self) -> Duration {
        self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn the_rate_is_that_of_the_last_milliseconds() {
        let mut rate = Rate::default();
        assert_eq!(rate.within(MILLI), 0);
        for _ in 0..100 {
            rate.count(10, MILLI);
        }
        assert_eq!(rate.within(MILLI), 10);
        for _ in 0..100 {
            rate.count(1, MILLI);
        }
        assert_eq!(rate.within(10 * MILLI), 10);
        rate.count(1, Duration::from_secs(3600));
        assert_eq!(rate.within(10 * MILLI), 0);
    }

    #[test]
    fn a_round_trip_is_what_it_mostly_takes() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.mean(), Duration::ZERO);
        round_trip.took(8 * MILLI);
        assert_eq!(round_trip.mean(), 8 * MILLI);
        round_trip.took(16 * MILLI);
        assert_eq!(round_trip.mean(), 9 * MILLI);
        for _ in 0..100 {
            round_trip.took(MILLI);
        }
        assert!(round_trip.mean() < 2 * MILLI);
    }

    #[test]
    fn a_delay_is_what_an_age_has_beyond_the_smallest_whatever_the_clocks_say() {
        for offset in [0, -3_600_000_000_000, i64::MIN / 2, i64::MAX / 2] {
            let now = Instant::now();
            let mut delays = Delays::new(now);
            let ages = [70_000, 50_000, 350_000, 50_000].map(|age| age + offset);
            let known = ages.map(|age| delays.delay(now, age).unwrap().as_micros());
            assert_eq!(known, [0, 0, 300, 0]);
            assert!((1..300).contains(&delays.mean().as_micros()));
        }
    }

    #[test]
    fn a_clock_that_drifts_is_no_delay() {
        let begun = Instant::now();
        let mut delays = Delays::new(begun);
        for millis in 0..60_000 {
            let now = begun + millis * MILLI;
            // Fifty millionths, which is what a bad quartz does.
            let delay = delays.delay(now, 50_000 + i64::from(millis) * 50).unwrap();
            assert!(delay < Duration::from_micros(200), "{delay:?} after {millis} ms");
        }
    }

    #[test]
    fn a_clock_that_was_set_is_forgotten_soon() {
        let begun = Instant::now();
        let mut delays = Delays::new(begun);
        delays.delay(begun, 0);
        let ahead = 5_000_000_000;
        assert_eq!(delays.delay(begun, ahead), Some(Duration::from_secs(5)));
        delays.delay(begun + SPAN, ahead);
        assert_eq!(delays.delay(begun + 2 * SPAN, ahead), Some(Duration::ZERO));
    }

    #[test]
    fn ages_that_fall_and_fall_tell_no_delay() {
        let now = Instant::now();
        let mut delays = Delays::new(now);
        let known = [9, 8, 7, 6, 5, 7, 4].map(|age| delays.delay(now, age).is_some());
        assert_eq!(known, [true, true, true, false, false, true, true]);
    }
}
