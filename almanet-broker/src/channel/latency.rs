//! How long messages took from their publication to their FIN.

use std::{
    fmt,
    time::{Duration, Instant},
};

use sketches_ddsketch::{Config, DDSketch};

use super::after;
use crate::config::{LatencyConfig, Percentile};

/// How far a percentile may be off, as a share of it.
const ACCURACY: f64 = 0.01;

/// Enough for latencies from a nanosecond to a month at this accuracy, and so the bound of a sketch: 16 KiB.
const MOST_BINS: u32 = 2048;

/// The processing latency of a channel's messages of late.
///
/// As in nsqd there are two halves, of which the older one is forgotten each time that half of the window is over.
/// So what is shown is never older than the window, and covers at least half of it.
pub(super) struct Latency {
    config: LatencyConfig,
    current: DDSketch,
    earlier: DDSketch,
    /// Since when latencies are counted in `current`.
    since: Instant,
}

impl Latency {
    /// `None` when there is nothing to measure.
    pub(super) fn new(config: &LatencyConfig, now: Instant) -> Option<Box<Self>> {
        if config.percentiles.is_empty() {
            return None;
        }
        Some(Box::new(Self {
            config: config.clone(),
            current: sketch(),
            earlier: sketch(),
            since: now,
        }))
    }

    pub(super) fn add(&mut self, latency: Duration, now: Instant) {
        self.forget(now);
        // Exact up to a hundred days, and close enough beyond.
        self.current.add(latency.as_nanos() as f64);
    }

    pub(super) fn report(&self, now: Instant) -> LatencyReport {
        let halves = match self.halves_over(now) {
            0 => [Some(&self.earlier), Some(&self.current)],
            1 => [Some(&self.current), None],
            _ => [None, None],
        };
        let mut report = LatencyReport {
            config: self.config.clone(),
            sketch: sketch(),
        };
        for half in halves.into_iter().flatten() {
            report.include(half);
        }
        report
    }

    /// Forgets what is too old at `now`.
    fn forget(&mut self, now: Instant) {
        match self.halves_over(now) {
            0 => {}
            1 => {
                self.earlier = std::mem::replace(&mut self.current, sketch());
                self.since = after(self.since, self.half());
            }
            _ => {
                self.earlier = sketch();
                self.current = sketch();
                self.since = now;
            }
        }
    }

    /// How many halves of the window have ended since the current one began, up to two.
    fn halves_over(&self, now: Instant) -> u8 {
        let passed = now.saturating_duration_since(self.since);
        let half = self.half();
        u8::from(passed >= half) + u8::from(passed >= half * 2)
    }

    fn half(&self) -> Duration {
        self.config.window / 2
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latency")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

fn sketch() -> DDSketch {
    // What takes less than a nanosecond counts as none.
    DDSketch::new(Config::new(ACCURACY, MOST_BINS, 1.0))
}

/// The processing latency of messages of late, of one channel or of several.
#[derive(Clone)]
pub(crate) struct LatencyReport {
    config: LatencyConfig,
    sketch: DDSketch,
}

impl LatencyReport {
    /// How many messages it is about.
    pub(crate) fn count(&self) -> usize {
        self.sketch.count()
    }

    /// Each percentile, and its latency in nanoseconds; 0 when there was no message.
    pub(crate) fn percentiles(&self) -> impl Iterator<Item = (Percentile, f64)> {
        self.config.percentiles.iter().map(|percentile| {
            let value = self.sketch.quantile(percentile.get()).ok().flatten();
            (*percentile, value.unwrap_or(0.0))
        })
    }

    /// Adds what another channel knows.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.include(&other.sketch);
    }

    fn include(&mut self, sketch: &DDSketch) {
        // Sketches differ in what they are made of only if they are made differently, and all are made here.
        let _ = self.sketch.merge(sketch);
    }
}

impl fmt::Debug for LatencyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.percentiles()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn latency(percentiles: &[f64], now: Instant) -> Box<Latency> {
        let config = LatencyConfig {
            percentiles: percentiles
                .iter()
                .map(|share| Percentile::new(*share).unwrap())
                .collect(),
            window: WINDOW,
        };
        Latency::new(&config, now).unwrap()
    }

    /// The percentiles in milliseconds, rounded.
    fn millis(report: &LatencyReport) -> Vec<f64> {
        report
            .percentiles()
            .map(|(_, nanos)| (nanos / 1e6).round())
            .collect()
    }

    #[test]
    fn percentiles_are_those_of_what_came() {
        let now = Instant::now();
        let mut latency = latency(&[1.0, 0.99, 0.5, 0.01], now);
        for number in 1..=100 {
            latency.add(Duration::from_millis(number), now);
        }
        let report = latency.report(now);
        assert_eq!(report.count(), 100);
        for (got, expected) in millis(&report).into_iter().zip([100.0, 99.0, 50.0, 1.0]) {
            assert!((got - expected).abs() <= 1.0, "{got} instead of {expected}");
        }
    }

    #[test]
    fn without_messages_they_are_nothing() {
        let now = Instant::now();
        let report = latency(&[0.9], now).report(now);
        assert_eq!((report.count(), millis(&report)), (0, vec![0.0]));
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let start = Instant::now();
        let mut latency = latency(&[1.0], start);
        let count = |latency: &Latency, after| latency.report(start + after).count();
        latency.add(Duration::from_secs(9), start);
        let almost = WINDOW / 2 - Duration::from_secs(1);
        assert_eq!(count(&latency, almost), 1);
        assert_eq!(count(&latency, WINDOW / 2), 1, "the half that is over counts");
        latency.add(Duration::from_secs(1), start + WINDOW / 2);
        let report = latency.report(start + WINDOW / 2);
        assert_eq!((report.count(), millis(&report)), (2, vec![9000.0]));
        let report = latency.report(start + WINDOW);
        assert_eq!((report.count(), millis(&report)), (1, vec![1000.0]));
        assert_eq!(count(&latency, WINDOW * 3), 0, "all of it after a pause");
    }

    #[test]
    fn a_half_ends_when_it_is_over_and_not_when_somebody_looks() {
        let start = Instant::now();
        let mut latency = latency(&[1.0], start);
        let at = |share: f64| start + WINDOW.mul_f64(share);
        latency.add(Duration::from_secs(1), start);
        latency.add(Duration::from_secs(2), at(0.9));
        assert_eq!(latency.report(at(0.9)).count(), 2);
        assert_eq!(latency.report(at(1.1)).count(), 1);
    }

    #[test]
    fn a_sketch_of_anything_is_bounded() {
        let now = Instant::now();
        let mut latency = latency(&[1.0], now);
        for shift in 0..64 {
            latency.add(Duration::from_nanos(1 << shift), now);
            latency.add(Duration::MAX, now);
            latency.add(Duration::ZERO, now);
        }
        assert!(latency.current.length() <= MOST_BINS as usize);
        assert_eq!(latency.report(now).count(), 3 * 64);
    }

    #[test]
    fn channels_are_merged() {
        let now = Instant::now();
        let (mut one, mut other) = (latency(&[1.0], now), latency(&[1.0], now));
        one.add(Duration::from_secs(1), now);
        other.add(Duration::from_secs(2), now);
        let mut report = one.report(now);
        report.merge(&other.report(now));
        assert_eq!((report.count(), millis(&report)), (2, vec![2000.0]));
    }
}
