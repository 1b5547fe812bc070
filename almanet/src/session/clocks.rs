//! What the clocks of brokers say, compared with this machine's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{OnceCell, oneshot},
    time::{Instant, timeout},
};

use super::{inbox, shared::Session};
use crate::{
    id::Id,
    transport::Publication,
    wire::{Control, ControlKind},
};

/// For how long a comparison counts. Clocks that nobody sets drift by milliseconds in this time.
const VALID: Duration = Duration::from_secs(60);

/// A comparison that takes longer says little, and would hold up the calls that wait for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The brokers' clocks, as far as they were asked for.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<Arc<str>, Comparison>,
    /// Messages to this session itself that are on their way.
    probes: HashMap<Id, oneshot::Sender<(Arc<str>, i64)>>,
}

#[derive(Debug, Clone)]
struct Comparison {
    begun: Instant,
    ahead: Arc<OnceCell<i64>>,
}

impl Clocks {
    /// A message to this session itself has come back; `timestamp` is when the broker took it in.
    pub(super) fn arrived(&self, probe: Id, node: &Arc<str>, timestamp: i64) {
        let waiting = self.state().probes.remove(&probe);
        if let Some(waiting) = waiting {
            // An error says that nobody waits any more.
            let _ = waiting.send((Arc::clone(node), timestamp));
        }
    }

    /// The comparison with the clock of `node` that is under way or counts; all who ask share one.
    fn comparison(&self, node: &Arc<str>) -> Arc<OnceCell<i64>> {
        let mut state = self.state();
        let now = Instant::now();
        state
            .nodes
            .retain(|_, comparison| now.duration_since(comparison.begun) < VALID);
        let comparison = state.nodes.entry(Arc::clone(node)).or_insert_with(|| Comparison {
            begun: now,
            ahead: Arc::default(),
        });
        Arc::clone(&comparison.ahead)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// By how many nanoseconds this machine's clock is ahead of that of `node`; zero when that cannot be found out.
    ///
    /// A message to this session itself tells: the broker writes on it when it took it in.
    pub(crate) async fn ahead_of(&self, node: &Arc<str>) -> i64 {
        let comparison = self.shared.clocks.comparison(node);
        *comparison
            .get_or_init(async || {
                let compared = timeout(PATIENCE, self.compare(node)).await;
                let ahead = compared.ok().flatten();
                if ahead.is_none() {
                    tracing::warn!(%node, "cannot compare the clocks: they are taken for equal");
                }
                ahead.unwrap_or_default()
            })
            .await
    }

    async fn compare(&self, node: &Arc<str>) -> Option<i64> {
        self.shared.inbox().await.ok()?;
        let probe = Probe::new(&self.shared.clocks);
        let body = Control::new(ControlKind::Clock, probe.id, self.id())
            .encode()
            .ok()?;
        let publication = Publication::new(inbox::topic(self.id()).ok()?, body).through(Arc::clone(node));
        let before = unix_nanos();
        self.shared.transport.publish(publication).await.ok()?;
        let after = unix_nanos();
        let (came_from, timestamp) = probe.arrival().await?;
        let between = before.midpoint(after);
        (came_from == *node).then(|| between.saturating_sub(timestamp))
    }
}

/// A message to oneself, forgotten on drop.
struct Probe<'a> {
    clocks: &'a Clocks,
    id: Id,
    arriving: oneshot::Receiver<(Arc<str>, i64)>,
}

impl<'a> Probe<'a> {
    fn new(clocks: &'a Clocks) -> Self {
        let (id, (arrived, arriving)) = (Id::random(), oneshot::channel());
        clocks.state().probes.insert(id, arrived);
        Self { clocks, id, arriving }
    }

    async fn arrival(mut self) -> Option<(Arc<str>, i64)> {
        (&mut self.arriving).await.ok()
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.clocks.state().probes.remove(&self.id);
    }
}

/// What this machine's clock says: nanoseconds since 1970.
pub(crate) fn unix_nanos() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
