//! Counting what happens in this process, for whoever asks how it does.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts up, from any thread, without a lock.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.number();
    }

    /// Counts one more; returns how many there were before.
    pub(crate) fn number(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
