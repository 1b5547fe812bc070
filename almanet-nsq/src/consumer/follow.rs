//! Keeps a consumer subscribed on the nodes that are there, as they come and go.

use std::{collections::BTreeMap, sync::Arc};

use tokio::task::JoinSet;
use tracing::info;

use super::subscriptions::{Deliveries, Subscriptions};
use crate::{
    connection::{ConnectionChange, Stop, supervise, tell},
    lookup::Nodes,
};

/// The nodes that a consumer is subscribed on, or tries to be.
#[derive(Debug)]
pub(super) struct Follower {
    nodes: Nodes,
    subscriptions: Subscriptions,
    deliveries: Deliveries,
    followed: BTreeMap<Arc<str>, Stop>,
    /// Subscriptions that are about to end, each with deliveries that are still worked on.
    ending: JoinSet<()>,
}

impl Follower {
    /// Begins with the nodes that are known: resolves when each has confirmed the subscription or could not be used.
    pub(super) async fn begin(
        mut nodes: Nodes,
        subscriptions: Subscriptions,
        deliveries: Deliveries,
    ) -> Self {
        let current = nodes.current();
        let each = current
            .iter()
            .map(|node| (Arc::clone(node), subscriptions.stop.child()));
        let followed: BTreeMap<_, _> = each.collect();
        let attempts = subscriptions.attempt(followed.clone(), &deliveries).await;
        for attempt in attempts {
            subscriptions.keep(attempt);
        }
        Self {
            nodes,
            subscriptions,
            deliveries,
            followed,
            ending: JoinSet::new(),
        }
    }

    /// Follows the nodes until the consumer closes, and then waits for the subscriptions that are about to end.
    pub(super) async fn run(mut self) {
        let stop = self.subscriptions.stop.reconnecting.clone();
        loop {
            tokio::select! {
                nodes = self.nodes.changed() => self.update(&nodes),
                Some(_) = self.ending.join_next() => {}
                () = stop.cancelled() => break,
            }
        }
        while self.ending.join_next().await.is_some() {}
    }

    fn update(&mut self, nodes: &[Arc<str>]) {
        let (kept, gone): (_, BTreeMap<_, _>) = std::mem::take(&mut self.followed)
            .into_iter()
            .partition(|(node, _)| nodes.contains(node));
        self.followed = kept;
        for (node, stop) in gone {
            self.let_go(&node, stop);
        }
        for node in nodes {
            if !self.followed.contains_key(node) {
                self.take_up(node);
            }
        }
    }

    fn take_up(&mut self, node: &Arc<str>) {
        info!(address = %node, "subscribing on a node that was found");
        let stop = self.subscriptions.stop.child();
        let endpoint = self
            .subscriptions
            .endpoint(Arc::clone(node), &self.deliveries, &stop);
        tell(&endpoint, || ConnectionChange::Found);
        let supervised = supervise(endpoint, None, stop.clone());
        self.subscriptions.tasks.spawn(supervised);
        self.followed.insert(Arc::clone(node), stop);
    }

    /// What was not handed out is requeued at once; what was is waited for.
    fn let_go(&mut self, node: &Arc<str>, stop: Stop) {
        info!(address = %node, "letting go of a node that is no longer listed");
        let endpoint = self
            .subscriptions
            .endpoint(Arc::clone(node), &self.deliveries, &stop);
        tell(&endpoint, || ConnectionChange::LetGo);
        stop.reconnecting.cancel();
        let links = self.subscriptions.ready.release(node);
        self.subscriptions.inbox.drop_unwanted();
        let subscriptions = self.subscriptions.clone();
        self.ending.spawn(async move {
            subscriptions.end(&links).await;
            stop.now.cancel();
        });
    }
}
