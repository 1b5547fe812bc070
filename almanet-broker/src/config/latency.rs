//! Which percentiles of processing latency are kept, and for how long.

use std::{sync::Arc, time::Duration};

use super::BrokerConfig;

/// A share of messages, of which the longest processing latency is kept: 0.99 for the 99th percentile.
///
/// ```
/// use almanet_broker::Percentile;
///
/// assert_eq!(Percentile::new(0.99)?.get(), 0.99);
/// assert!(Percentile::new(99.0).is_err());
/// # Ok::<(), almanet_broker::PercentileError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percentile(f64);

/// A number is no [`Percentile`].
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is no percentile: write a number above 0 and up to 1, such as 0.99")]
pub struct PercentileError(f64);

impl Percentile {
    /// The percentile of this share.
    ///
    /// # Errors
    ///
    /// [`PercentileError`] unless it is above 0 and at most 1, as in nsqd.
    pub fn new(share: f64) -> Result<Self, PercentileError> {
        if share > 0.0 && share <= 1.0 {
            Ok(Self(share))
        } else {
            Err(PercentileError(share))
        }
    }

    /// The share, above 0 and at most 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// What is measured of processing latency; nothing without percentiles.
#[derive(Debug, Clone)]
pub(crate) struct LatencyConfig {
    /// The highest first, as nsqd shows them.
    pub(crate) percentiles: Arc<[Percentile]>,
    pub(crate) window: Duration,
}

impl Default for LatencyConfig {
    fn default() -> Self {
        Self {
            percentiles: Arc::default(),
            window: Duration::from_secs(10 * 60),
        }
    }
}

/// The shortest window; a shorter one would be over before anybody can look.
const SHORTEST_WINDOW: Duration = Duration::from_millis(1);

impl BrokerConfig {
    /// Adds a percentile of processing latency to the statistics of each channel, and of each topic for all of its
    /// channels: how long messages took from their publication to their FIN, in nanoseconds, within 1 %.
    ///
    /// The default is none, as for nsqd's `--e2e-processing-latency-percentile`, and then nothing is measured.
    /// Otherwise each channel that is finished on takes some KiB of memory, 32 KiB at the most, and each FIN an insertion into its sketch.
    #[must_use]
    pub fn processing_latency_percentile(mut self, percentile: Percentile) -> Self {
        let mut percentiles = self.latency.percentiles.to_vec();
        let after = percentiles.partition_point(|other| *other > percentile);
        percentiles.insert(after, percentile);
        self.latency.percentiles = percentiles.into();
        self
    }

    /// For how long a message counts in the percentiles of processing latency; at least 1 ms.
    ///
    /// It counts for half of this time at least. The default is 10 min, as nsqd's
    /// `--e2e-processing-latency-window-time`.
    #[must_use]
    pub fn processing_latency_window(mut self, window: Duration) -> Self {
        self.latency.window = window.max(SHORTEST_WINDOW);
        self
    }
}
