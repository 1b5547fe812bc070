//! What the user of a consumer knows of messages that are still to come.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many messages somebody waits for: a hint for [`Window::Adaptive`](crate::Window::Adaptive).
///
/// Whoever asks by one topic and reads the answers from another knows how many of them are still to come, and a broker that holds
/// messages back should do so until they are all there, and not a moment longer. A hint that is wrong costs a few
/// milliseconds, now and then, in which messages are held back in vain.
///
/// Clones are one and the same hint.
///
/// ```
/// use almanet_nsq::{ConsumerConfig, Expected};
///
/// let expected = Expected::default();
/// let answers = ConsumerConfig::default().expected(expected.clone());
///
/// // Three questions are about to be published.
/// expected.set(3);
/// # let _ = answers;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Expected(Arc<AtomicUsize>);

impl Expected {
    /// From now on, `count` messages are still to come.
    pub fn set(&self, count: usize) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// How many messages are still to come.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
