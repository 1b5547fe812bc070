//! The nsqlookupds that are to know the broker. Their list can change while it runs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    identity::{Identity, LookupdInfo},
    peer::Peer,
};
use crate::registry::Registry;

/// What is known of the nsqlookupds that are connected.
#[derive(Debug, Default)]
pub(crate) struct Lookupds {
    /// Where they answer HTTP, by TCP address.
    http: Mutex<BTreeMap<String, String>>,
}

impl Lookupds {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Where the connected ones answer HTTP.
    pub(crate) fn http_addresses(&self) -> Vec<String> {
        self.http.lock().values().cloned().collect()
    }

    pub(super) fn connected(&self, address: &str, info: &LookupdInfo) {
        match info.http_address() {
            Some(http) => _ = self.http.lock().insert(address.to_owned(), http),
            None => tracing::warn!(lookupd = %address, "nsqlookupd: it does not say where it answers HTTP"),
        }
    }

    pub(super) fn disconnected(&self, address: &str) {
        self.http.lock().remove(address);
    }

    /// Keeps a connection to each nsqlookupd that the registry names until `stopped`. What ends is forgotten by nsqlookupd at once, as
    /// with nsqd: the connection is the registration.
    pub(crate) async fn run(
        self: Arc<Self>,
        identity: Identity,
        registry: Arc<Registry>,
        tasks: TaskTracker,
        stopped: CancellationToken,
    ) {
        let identity = Arc::new(identity);
        let mut addresses = registry.lookupd_addresses().listen();
        let mut peers: HashMap<String, DropGuard> = HashMap::new();
        loop {
            let wanted = addresses.borrow_and_update().clone();
            peers.retain(|address, _| {
                let stays = wanted.contains(address);
                if !stays {
                    tracing::info!(lookupd = %address, "nsqlookupd: removed");
                }
                stays
            });
            for address in wanted {
                if peers.contains_key(&address) {
                    continue;
                }
                let removed = stopped.child_token();
                let peer = Peer {
                    address: address.clone(),
                    identity: Arc::clone(&identity),
                    registry: Arc::clone(&registry),
                    lookupds: Arc::clone(&self),
                };
                let ended = removed.clone();
                let lookupds = Arc::clone(&self);
                let name = address.clone();
                tasks.spawn(async move {
                    ended.run_until_cancelled(peer.run()).await;
                    lookupds.disconnected(&name);
                });
                peers.insert(address, removed.drop_guard());
            }
            let changed = stopped.run_until_cancelled(addresses.changed()).await;
            if !matches!(changed, Some(Ok(()))) {
                return;
            }
        }
    }
}
