//! How publishers learn of a failure that do not wait for the outcome.

use std::{fmt, sync::Arc};

/// Who is told that a message which was [posted](crate::ProducerPool::post) may not have been published.
pub trait PostFailed: Send + Sync {
    /// The post that was given this key has failed, or may have: [`settle`](crate::ProducerPool::settle) tells, and does what can
    /// be done. It is called by the task of a connection, and must not block.
    fn post_failed(&self, key: [u8; 16]);
}

/// Tells that a post has failed when it is dropped, unless it is defused.
pub(super) struct Alarm {
    told: Option<Arc<dyn PostFailed>>,
    key: [u8; 16],
}

impl Alarm {
    pub(super) fn new(told: Arc<dyn PostFailed>, key: [u8; 16]) -> Self {
        Self {
            told: Some(told),
            key,
        }
    }

    /// The post has not failed.
    pub(super) fn defuse(mut self) {
        self.told = None;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            told.post_failed(self.key);
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").finish_non_exhaustive()
    }
}
