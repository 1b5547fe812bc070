//! How publishers learn of a failure that do not wait for the outcome.

use std::{fmt, mem, sync::Arc};

use super::publish::{Failed, Failure};

/// Who is told that a message which was [posted](crate::ProducerPool::post) may not have been published.
pub trait PostFailed: Send + Sync {
    /// The post that was given this key has failed: [`settle`](crate::ProducerPool::settle) does what can be done then. It is
    /// called by the task of a connection, and must not block.
    fn post_failed(&self, key: [u8; 16], failed: FailedPost);
}

/// Why a post has failed, and what it was, for [`settle`](crate::ProducerPool::settle).
pub struct FailedPost(pub(super) Box<Failed>);

impl fmt::Debug for FailedPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FailedPost").field(&self.0.failure).finish()
    }
}

/// Tells that a post has failed, also when it is dropped, unless it is defused.
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

    /// The post has failed.
    pub(super) fn ring(mut self, failed: Box<Failed>) {
        self.tell(|| failed);
    }

    /// The post has not failed, or somebody waits for its outcome by now.
    pub(super) fn defuse(mut self) {
        self.told = None;
    }

    fn tell(&mut self, failed: impl FnOnce() -> Box<Failed>) {
        if let Some(told) = mem::take(&mut self.told) {
            told.post_failed(self.key, FailedPost(failed()));
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.tell(|| Failure::Closed.alone());
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").finish_non_exhaustive()
    }
}
