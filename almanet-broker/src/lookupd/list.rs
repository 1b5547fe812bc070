//! The nsqlookupds that are to know the broker. The list can change while it runs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    identity::{Identity, LookupdInfo},
    peer::Peer,
};
use crate::registry::Registry;

/// The addresses, and what is known of those that are connected.
#[derive(Debug)]
pub(crate) struct Lookupds {
    addresses: watch::Sender<Vec<String>>,
    /// Where those that are connected answer HTTP, by TCP address.
    http: Mutex<BTreeMap<String, String>>,
}

impl Lookupds {
    pub(crate) fn new(addresses: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            addresses: watch::Sender::new(addresses),
            http: Mutex::default(),
        })
    }

    /// The TCP addresses, as they were given.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.addresses.borrow().clone()
    }

    /// Sets the TCP addresses. Those that are new are connected to, those that are gone let go of; the others notice
    /// nothing.
    pub(crate) fn set_addresses(&self, addresses: Vec<String>) {
        self.addresses.send_replace(addresses);
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

    /// Keeps a connection to each of them until `stopped`. What ends is forgotten by nsqlookupd at once, as
    /// with nsqd: the connection is the registration.
    pub(crate) async fn run(
        self: Arc<Self>,
        identity: Identity,
        registry: Arc<Registry>,
        tasks: TaskTracker,
        stopped: CancellationToken,
    ) {
        let identity = Arc::new(identity);
        let mut addresses = self.addresses.subscribe();
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
