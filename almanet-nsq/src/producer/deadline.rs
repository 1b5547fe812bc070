//! How long publishes may take, and the end of those that take longer.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;

/// The time that a publish has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
    /// Whether it begins now and is as long as what is configured, so that deadlines rise with each publish.
    pub(super) is_whole: bool,
}

impl Term {
    /// From now on, for the configured time.
    pub(super) fn whole(publish_timeout: Duration) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            deadline: begun + publish_timeout,
            is_whole: true,
        }
    }
}

/// Fails publishes at their deadline, one task for all instead of a timer for each.
///
/// Nothing that is queued while this sleeps can be due before it wakes.
pub(super) async fn expire(outbox: Arc<Outbox>, publish_timeout: Duration, stop: CancellationToken) {
    let reason = no_answer(publish_timeout);
    loop {
        let now = Instant::now();
        let next = outbox.expire(now, &reason).unwrap_or(now + publish_timeout);
        tokio::select! {
            () = sleep_until(next) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// The reason of a publish that is unconfirmed at its deadline.
pub(super) fn no_answer(publish_timeout: Duration) -> Arc<str> {
    format!("no answer within {publish_timeout:?}").into()
}
