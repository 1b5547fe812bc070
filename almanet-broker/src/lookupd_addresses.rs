//! Where the broker's nsqlookupds are.

use tokio::sync::watch;

use crate::config::BrokerConfig;

/// The `host:port` of each nsqlookupd, which can be changed while the broker runs.
#[derive(Debug)]
pub(crate) struct LookupdAddresses(watch::Sender<Vec<String>>);

impl LookupdAddresses {
    /// The addresses that the broker begins with.
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        #[cfg(feature = "lookupd")]
        let addresses = config.lookupd.tcp_addresses.clone();
        #[cfg(not(feature = "lookupd"))]
        let (addresses, _) = (Vec::new(), config);
        Self(watch::Sender::new(addresses))
    }

    pub(crate) fn get(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub(crate) fn set(&self, addresses: Vec<String>) {
        self.0.send_replace(addresses);
    }

    /// Tells of the addresses whenever they are set.
    #[cfg(feature = "lookupd")]
    pub(crate) fn listen(&self) -> watch::Receiver<Vec<String>> {
        self.0.subscribe()
    }
}
