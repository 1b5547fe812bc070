//! Keeps a connection alive: connects, runs it, waits a little, connects again.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    backoff::Backoff,
    driver::{Ended, Incoming, Outgoing, drive},
    event::{ConnectionChange, ConnectionRole},
    handshake::Established,
    lost::Lost,
};
use crate::{config::ConnectionConfig, error::ConnectError};

/// A connection that lasted this long was a good one: after it, delays start with the shortest again.
const GOOD_CONNECTION: Duration = Duration::from_secs(1);

/// What the user of a connection does when it begins and when it ends. Dropped, it ends for good.
pub(crate) trait Endpoint: Send + 'static {
    /// The broker's address.
    fn address(&self) -> &str;

    /// What connections are for.
    fn role(&self) -> ConnectionRole;

    /// How connections are made.
    fn config(&self) -> &ConnectionConfig;

    /// Makes a connection.
    fn establish(&self) -> impl Future<Output = Result<Established, ConnectError>> + Send;

    /// A connection begins: what goes out on it, and what becomes of what comes in.
    fn open(&mut self, established: &Established) -> (impl Outgoing + use<Self>, impl Incoming + use<Self>);

    /// The connection that was opened last has ended.
    fn shut(&mut self, ended: &Ended);
}

/// When a supervised connection shall end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// From here on, no new connection is made.
    pub(crate) reconnecting: CancellationToken,
    /// The connection that is there ends too.
    pub(crate) now: CancellationToken,
}

impl Stop {
    /// Ends when this does, or before.
    pub(crate) fn child(&self) -> Self {
        Self {
            reconnecting: self.reconnecting.child_token(),
            now: self.now.child_token(),
        }
    }
}

/// Keeps `endpoint` connected until it shall stop, beginning with `first` where that is connected already.
pub(crate) async fn supervise(mut endpoint: impl Endpoint, first: Option<Established>, stop: Stop) {
    keep(&mut endpoint, first, stop).await;
    tell(&endpoint, || ConnectionChange::Closed);
}

async fn keep(endpoint: &mut impl Endpoint, first: Option<Established>, stop: Stop) {
    let mut backoff = Backoff::new(endpoint.config().reconnect_delay.clone());
    let mut connected = first;
    loop {
        if stop.reconnecting.is_cancelled() {
            return;
        }
        let established = match connected.take() {
            Some(established) => Ok(established),
            None => tokio::select! {
                established = endpoint.establish() => established,
                () = stop.reconnecting.cancelled() => return,
            },
        };
        let delay = match established {
            Ok(established) => {
                let (lost, lasted) = run(endpoint, established, &stop.now).await;
                if stop.reconnecting.is_cancelled() {
                    info!(address = endpoint.address(), "connection closed");
                    return;
                }
                // A refusal concerns what was sent, not the broker's health.
                if lasted >= GOOD_CONNECTION || matches!(lost, Lost::Refused(_)) {
                    backoff.reset();
                }
                let delay = backoff.delay();
                warn!(address = endpoint.address(), reason = %lost, ?delay, "connection lost, reconnecting");
                tell(endpoint, || ConnectionChange::Lost {
                    cause: lost.to_string(),
                });
                delay
            }
            Err(error) => {
                let delay = backoff.delay();
                warn!(address = endpoint.address(), %error, ?delay, "not connected, trying again");
                tell(endpoint, || ConnectionChange::Failed {
                    cause: error.to_string(),
                });
                delay
            }
        };
        tell(endpoint, || ConnectionChange::BackingOff { delay });
        tokio::select! {
            () = sleep(delay) => {}
            () = stop.reconnecting.cancelled() => return,
        }
    }
}

async fn run(
    endpoint: &mut impl Endpoint,
    established: Established,
    stop: &CancellationToken,
) -> (Lost, Duration) {
    info!(
        address = endpoint.address(),
        version = established.granted.version,
        "connected"
    );
    tell(endpoint, || ConnectionChange::Connected {
        version: established.granted.version.clone(),
    });
    let since = Instant::now();
    let (outgoing, incoming) = endpoint.open(&established);
    let ended = drive(established, outgoing, incoming, endpoint.config(), stop).await;
    endpoint.shut(&ended);
    (ended.lost, since.elapsed())
}

/// Tells the observer, if there is one.
pub(crate) fn tell(endpoint: &impl Endpoint, change: impl FnOnce() -> ConnectionChange) {
    if let Some(observer) = &endpoint.config().observer {
        observer.tell(endpoint.address(), endpoint.role(), change());
    }
}
