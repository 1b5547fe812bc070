//! The hold on a service that runs.

use std::sync::Arc;

use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{counts::CallCounts, meter::Meter};
use crate::uri::Uri;

/// A service that runs. Dropped, it stops the service in the background.
#[derive(Debug)]
#[must_use = "the service stops when its handle is dropped"]
pub struct ServiceHandle {
    stop: DropGuard,
    running: TaskTracker,
    meters: Vec<(Uri, Arc<Meter>)>,
}

impl ServiceHandle {
    pub(super) fn new(stop: CancellationToken, running: TaskTracker, meters: Vec<(Uri, Arc<Meter>)>) -> Self {
        Self {
            meters,
            stop: stop.drop_guard(),
            running,
        }
    }

    /// How many calls of each procedure came to no ordinary end in this instance.
    pub fn counts(&self) -> impl Iterator<Item = (&Uri, CallCounts)> {
        self.meters.iter().map(|(uri, meter)| (uri, meter.counts()))
    }

    /// Stops the service in order: no new calls, running ones finish within the grace period, those not started go
    /// back to the broker for other instances, replies are confirmed.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the service goes on stopping.
    pub async fn stop(self) {
        drop(self.stop);
        self.running.wait().await;
    }

    /// Waits until the service has ended because its session was left.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future changes nothing.
    pub async fn stopped(&self) {
        self.running.wait().await;
    }
}
