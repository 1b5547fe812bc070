//! The nodes that were found, kept up to date.

use std::{future::pending, sync::Arc};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::poll::Poll;

/// The nodes of a cluster (each `host:port`), kept up to date for as long as this or a clone of it lives.
///
/// Clones share the polling, and each has its own idea of what has changed. A node that nsqlookupd no longer lists
/// is gone from here after the second poll in succession that does not list it, so that an nsqlookupd that was
/// restarted has time to hear from its nodes. While no nsqlookupd answers, nothing changes.
///
/// Give it to [`Consumer::discover`](crate::Consumer::discover), or watch it:
///
/// ```no_run
/// use almanet_nsq::{Lookup, LookupConfig, Nodes};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let lookup = Lookup::new(["10.0.0.1:4161"], LookupConfig::default())?;
/// let mut nodes = lookup.every_node().await?;
/// println!("now: {:?}", nodes.current());
/// loop {
///     println!("from now on: {:?}", nodes.changed().await);
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Nodes {
    latest: watch::Receiver<Arc<[Arc<str>]>>,
    _polling: Arc<AbortOnDropHandle<()>>,
}

impl Nodes {
    /// Keeps what `poll` knows up to date.
    pub(super) fn follow(poll: Poll) -> Self {
        let (sender, latest) = watch::channel(poll.known.nodes());
        let polling = AbortOnDropHandle::new(tokio::spawn(poll.run(sender)));
        Self {
            latest,
            _polling: Arc::new(polling),
        }
    }

    /// The nodes as they are known now, in order, each once.
    ///
    /// [`changed`](Self::changed) then waits for others than these.
    pub fn current(&mut self) -> Arc<[Arc<str>]> {
        Arc::clone(&self.latest.borrow_and_update())
    }

    /// Waits until the nodes are others than those that this value has shown, and shows them.
    ///
    /// A value that has shown none yet has seen what was known when it was made.
    ///
    /// # Cancel safety
    ///
    /// No change is missed when the future is dropped.
    pub async fn changed(&mut self) -> Arc<[Arc<str>]> {
        if self.latest.changed().await.is_err() {
            // The runtime that polls shuts down: nothing will ever change again.
            pending().await
        }
        self.current()
    }
}
