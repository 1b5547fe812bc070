//! How what takes messages in comes to its end.

use std::{pin::pin, time::Duration};

use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::transport::Subscription;

/// Closes the subscription, which requeues what was not started and waits for the answers of what runs. Of what still runs
/// after `grace`, `late` is told how much it is; `abort` has it dropped, and so requeued.
pub(crate) async fn drain(
    subscription: Subscription,
    running: TaskTracker,
    grace: Duration,
    abort: &CancellationToken,
    late: impl FnOnce(usize),
) {
    let mut ended = pin!(async {
        subscription.close().await;
        running.wait().await;
    });
    tokio::select! {
        () = &mut ended => return,
        () = sleep(grace) => {}
    }
    if !running.is_empty() {
        late(running.len());
    }
    abort.cancel();
    ended.await;
}
