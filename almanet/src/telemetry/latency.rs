//! How long things took, in memory of a fixed size and without a lock.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Each power of two is divided into so many buckets, so a time is known to within 1/16 of itself.
const BUCKETS_PER_OCTAVE: usize = 1 << OCTAVE_BITS;
const OCTAVE_BITS: u32 = 4;
/// Times from 2^36 us (19 hours) on share the last bucket.
const OCTAVES: usize = 36;
const BUCKETS: usize = (OCTAVES - OCTAVE_BITS as usize + 1) * BUCKETS_PER_OCTAVE;

/// A histogram of times in microseconds; 4 KiB.
pub(crate) struct Latencies {
    buckets: Box<[AtomicU64]>,
    total_us: AtomicU64,
    max_us: AtomicU64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            total_us: AtomicU64::new(0),
            max_us: AtomicU64::new(0),
        }
    }

    pub(crate) fn record(&self, time: Duration) {
        self.record_several(time, 1);
    }

    /// Records a time that stands for `several`.
    pub(crate) fn record_several(&self, time: Duration, several: u64) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket_of(us)) {
            bucket.fetch_add(several, Ordering::Relaxed);
        }
        self.total_us
            .fetch_add(us.wrapping_mul(several), Ordering::Relaxed);
        self.max_us.fetch_max(us, Ordering::Relaxed);
    }

    /// What was recorded up to now, more or less: other threads go on recording.
    pub(crate) fn snapshot(&self) -> Recorded {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .collect();
        Recorded {
            count: counts.iter().sum(),
            counts,
            total_us: self.total_us.load(Ordering::Relaxed),
            max_us: self.max_us.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies").finish_non_exhaustive()
    }
}

/// The state of a histogram at one time.
pub(crate) struct Recorded {
    counts: Vec<u64>,
    pub(crate) count: u64,
    total_us: u64,
    pub(crate) max_us: u64,
}

impl Recorded {
    pub(crate) fn mean_us(&self) -> u64 {
        self.total_us.checked_div(self.count).unwrap_or_default()
    }

    /// The time that this share of all were at most, rounded up to the end of its bucket; zero when there were none.
    pub(crate) fn quantile_us(&self, share: f64) -> u64 {
        // Counts up to 2^53 are exact; beyond, a rank that is off by one shows nowhere.
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return end_of(bucket).min(self.max_us);
            }
        }
        self.max_us
    }
}

/// The first sixteen buckets have one microsecond each; from then on an octave has sixteen.
fn bucket_of(us: u64) -> usize {
    let octave = us.checked_ilog2().unwrap_or_default();
    if octave < OCTAVE_BITS {
        return us as usize;
    }
    let shift = octave - OCTAVE_BITS;
    let within = (us >> shift) as usize - BUCKETS_PER_OCTAVE;
    let bucket = (shift as usize + 1) * BUCKETS_PER_OCTAVE + within;
    bucket.min(BUCKETS - 1)
}

/// The longest time in a bucket.
fn end_of(bucket: usize) -> u64 {
    let (octave, within) = (bucket / BUCKETS_PER_OCTAVE, bucket % BUCKETS_PER_OCTAVE);
    match octave.checked_sub(1) {
        None => within as u64,
        Some(shift) => (((BUCKETS_PER_OCTAVE + within + 1) as u64) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_falls_into_a_bucket_that_ends_at_most_a_sixteenth_later() {
        let times = (0..5000).chain((12..36).flat_map(|octave| {
            let begin = 1_u64 << octave;
            [begin - 1, begin, begin + 1, begin + begin / 3]
        }));
        for us in times {
            let end = end_of(bucket_of(us));
            assert!(
                us <= end && end <= us + us / 16,
                "{us} is in the bucket up to {end}"
            );
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let latencies = Latencies::new();
        assert_eq!(latencies.snapshot().quantile_us(0.5), 0);
        for us in 1..=1000 {
            latencies.record(Duration::from_micros(us));
        }
        let recorded = latencies.snapshot();
        assert_eq!(
            (recorded.count, recorded.mean_us(), recorded.max_us),
            (1000, 500, 1000)
        );
        for (share, exact) in [(0.5, 500), (0.9, 900), (0.99, 990), (1.0, 1000)] {
            let found = recorded.quantile_us(share);
            assert!((exact..=exact + exact / 16).contains(&found), "{share}: {found}");
        }
        latencies.record(Duration::MAX);
        assert_eq!(latencies.snapshot().count, 1001);
    }
}
