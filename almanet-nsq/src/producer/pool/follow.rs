//! Keeps a pool on the nodes that are there, as they come and go.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::members::Members;
use crate::lookup::Nodes;

/// Follows `nodes` until `stop`. A node that is gone gets no further publishes; those that are under way there hold
/// its connection until they have ended.
pub(super) async fn follow(mut nodes: Nodes, members: Arc<Members>, stop: CancellationToken) {
    loop {
        tokio::select! {
            nodes = nodes.changed() => members.update(&nodes),
            () = stop.cancelled() => return,
        }
    }
}
