//! The nodes of a pool, and whose turn it is.

use std::{
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{sync::Notify, time::Instant};
use tracing::info;

use super::{config::ProducerPoolConfig, health::Health};
use crate::{
    connection::{ConnectionChange, ConnectionRole},
    error::{ConnectError, PublishError},
    producer::{Producer, publisher::Attempt},
};

/// A node of a pool as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolNode {
    /// Its address, as it was given or found.
    pub address: Arc<str>,
    /// Whether there is a connection to it.
    pub is_connected: bool,
    /// Whether it is avoided while others are there: because it failed lately, or was found lately.
    pub is_avoided: bool,
}

/// One node: the connection to it, and how far it is trusted.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) producer: Producer,
    pub(super) health: Health,
}

/// The nodes that there are.
#[derive(Debug)]
pub(super) struct Members {
    config: ProducerPoolConfig,
    /// What times are counted from.
    start: Instant,
    nodes: RwLock<Vec<Arc<Member>>>,
    /// Whose turn is next.
    next: AtomicUsize,
    /// Wakes publishes that wait for a node: one was connected or found.
    pub(super) changed: Arc<Notify>,
}

impl Members {
    pub(super) fn new(config: ProducerPoolConfig) -> Self {
        Self {
            config,
            start: Instant::now(),
            nodes: RwLock::default(),
            next: AtomicUsize::new(0),
            changed: Arc::default(),
        }
    }

    /// Tries once to connect to each of the first nodes; those that fail are tried again in the background.
    ///
    /// # Errors
    ///
    /// All errors, when none can be used.
    pub(super) async fn begin(
        &self,
        addresses: impl IntoIterator<Item = Arc<str>>,
    ) -> Result<(), Vec<ConnectError>> {
        let attempts = addresses.into_iter().map(|address| {
            Producer::attempt(address, self.config.producer.clone(), Arc::clone(&self.changed))
        });
        let attempts = join_all(attempts).await;
        if !attempts.iter().any(Attempt::is_connected) {
            return Err(attempts.into_iter().filter_map(Attempt::into_error).collect());
        }
        let members = attempts
            .into_iter()
            .map(|attempt| Arc::new(self.member(attempt.keep(), Duration::ZERO)));
        self.write(|nodes| nodes.extend(members));
        Ok(())
    }

    fn member(&self, producer: Producer, avoided_until: Duration) -> Member {
        Member {
            producer,
            health: Health::new(self.config.avoid.clone(), avoided_until),
        }
    }

    /// The nodes are these from now on.
    pub(super) fn update(&self, addresses: &[Arc<str>]) {
        let known: Vec<Arc<str>> = self
            .read()
            .iter()
            .map(|node| Arc::clone(node.producer.node()))
            .collect();
        let settled = self.now().saturating_add(self.config.settling_time);
        let found: Vec<Arc<Member>> = addresses
            .iter()
            .filter(|address| !known.contains(address))
            .map(|address| {
                info!(%address, "publishing to a node that was found");
                self.tell(address, ConnectionChange::Found);
                let config = self.config.producer.clone();
                let changed = Arc::clone(&self.changed);
                let producer = Producer::attempt_later(Arc::clone(address), config, changed);
                Arc::new(self.member(producer, settled))
            })
            .collect();
        let gone = self.write(|nodes| {
            let is_gone = |node: &mut Arc<Member>| !addresses.contains(node.producer.node());
            let gone: Vec<_> = nodes.extract_if(.., is_gone).collect();
            nodes.extend(found);
            gone
        });
        for node in &gone {
            let address = node.producer.node();
            info!(%address, "no longer publishing to a node that is not listed");
            self.tell(address, ConnectionChange::LetGo);
        }
    }

    fn tell(&self, address: &str, change: ConnectionChange) {
        if let Some(observer) = &self.config.producer.connection.observer {
            observer.tell(address, ConnectionRole::Producer, change);
        }
    }

    /// The node for the next publish: the `preferred` one if it is connected, else the next in turn that is connected
    /// and healthy, else the next that is connected. None that is excluded.
    pub(super) fn choose(
        &self,
        preferred: Option<&str>,
        is_excluded: impl Fn(&str) -> bool,
    ) -> Option<Arc<Member>> {
        let nodes = self.read();
        let is_usable =
            |node: &Arc<Member>| node.producer.is_connected() && !is_excluded(node.producer.address());
        if let Some(preferred) = preferred
            && let Some(node) = nodes.iter().find(|node| node.producer.address() == preferred)
            && is_usable(node)
        {
            return Some(Arc::clone(node));
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % nodes.len().max(1);
        let (before, after) = nodes.split_at_checked(turn).unwrap_or_default();
        let mut avoided = None;
        for node in after.iter().chain(before).filter(|node| is_usable(node)) {
            if node.health.admits(|| self.now()) {
                return Some(Arc::clone(node));
            }
            avoided.get_or_insert(node);
        }
        avoided.map(Arc::clone)
    }

    /// Learns from what became of a publish at `node`.
    pub(super) fn note(&self, node: &Member, outcome: &Result<(), PublishError>) {
        match outcome {
            Ok(()) => node.health.confirmed(),
            Err(error) => self.failed(node, error),
        }
    }

    /// Learns from the failure of a publish at `node`.
    pub(super) fn failed(&self, node: &Member, error: &PublishError) {
        if is_of_the_node(error) {
            node.health.failed(self.now());
        }
    }

    pub(super) fn count(&self) -> usize {
        self.read().len()
    }

    /// The nodes as they are now.
    pub(super) fn shown(&self) -> Vec<PoolNode> {
        let now = self.now();
        let nodes = self.read();
        let shown = nodes.iter().map(|node| PoolNode {
            address: Arc::clone(node.producer.node()),
            is_connected: node.producer.is_connected(),
            is_avoided: node.health.is_avoided(now),
        });
        shown.collect()
    }

    /// Closes the connections to all nodes.
    pub(super) async fn close(&self) {
        let nodes = self.write(std::mem::take);
        join_all(nodes.iter().map(|node| node.producer.close())).await;
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<Member>>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the nodes, and wakes those who wait for one.
    fn write<T>(&self, change: impl FnOnce(&mut Vec<Arc<Member>>) -> T) -> T {
        let changed = change(&mut self.nodes.write().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
        changed
    }
}

/// Whether the error tells something about the node, rather than about what was published.
fn is_of_the_node(error: &PublishError) -> bool {
    match error {
        PublishError::Unconfirmed { .. } | PublishError::NotSent { .. } => true,
        PublishError::Refused { cause, .. } => is_refused_for_now(&cause.code),
        _ => false,
    }
}

/// Whether the broker could not take the messages in, though there is nothing wrong with them.
pub(super) fn is_refused_for_now(code: &almanet_nsq_proto::ErrorCode) -> bool {
    use almanet_nsq_proto::ErrorCode::{DpubFailed, MpubFailed, PubFailed};
    matches!(code, PubFailed | MpubFailed | DpubFailed)
}
