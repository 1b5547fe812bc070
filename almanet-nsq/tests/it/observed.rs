//! What an observer is told, and waiting for it.

use std::fmt::Debug;

use almanet_nsq::{ConnectionChange, ConnectionConfig, ConnectionEvent};
use tokio::sync::mpsc;

use crate::peer::soon;

/// The events of the connections that have its settings.
pub(crate) struct Observed {
    events: mpsc::UnboundedReceiver<ConnectionEvent>,
}

/// `connection`, observed.
pub(crate) fn observed(connection: ConnectionConfig) -> (ConnectionConfig, Observed) {
    let (sender, events) = mpsc::unbounded_channel();
    let connection = connection.observer(move |event| {
        let _ = sender.send(event.clone());
    });
    (connection, Observed { events })
}

impl Observed {
    pub(crate) async fn next(&mut self) -> ConnectionEvent {
        soon(self.events.recv()).await.unwrap()
    }

    /// What has happened and was not looked at yet.
    pub(crate) fn try_next(&mut self) -> Option<ConnectionEvent> {
        self.events.try_recv().ok()
    }

    /// Waits for the first event that is as wanted, whatever else happens before it.
    pub(crate) async fn until(&mut self, is_wanted: impl Fn(&ConnectionEvent) -> bool) -> ConnectionEvent {
        loop {
            let event = self.next().await;
            if is_wanted(&event) {
                return event;
            }
        }
    }

    pub(crate) async fn connected(&mut self, address: &str) {
        let is_connected =
            |event: &ConnectionEvent| matches!(event.change, ConnectionChange::Connected { .. });
        self.until(|event| is_connected(event) && &*event.address == address)
            .await;
    }

    pub(crate) async fn lost(&mut self, address: &str) {
        let is_lost = |event: &ConnectionEvent| matches!(event.change, ConnectionChange::Lost { .. });
        self.until(|event| is_lost(event) && &*event.address == address)
            .await;
    }

    pub(crate) async fn saw(&mut self, address: &str, change: ConnectionChange) {
        self.until(|event| event.change == change && &*event.address == address)
            .await;
    }
}

impl Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Observed")
    }
}
