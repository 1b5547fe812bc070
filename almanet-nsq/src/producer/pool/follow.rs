//! Keeps a pool on the nodes that are there, as they come and go.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::members::Members;
use crate::lookup::Nodes;

/// Follows `nodes` until `stop`. A node that is gone gets no further publishes; its connection is closed once those
/// that are under way have ended.
pub(super) async fn follow(mut nodes: Nodes, members: Arc<Members>, stop: CancellationToken) {
    let mut draining = JoinSet::new();
    loop {
        tokio::select! {
            nodes = nodes.changed() => {
                for node in members.update(&nodes) {
                    draining.spawn(async move { node.producer.close().await });
                }
            }
            Some(_) = draining.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    draining.shutdown().await;
}
