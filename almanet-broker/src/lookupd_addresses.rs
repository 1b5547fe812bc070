//! Where the broker's nsqlookupds are.

use parking_lot::Mutex;

/// The `host:port` of each nsqlookupd, which can be changed while the broker runs.
#[derive(Debug, Default)]
pub(crate) struct LookupdAddresses(Mutex<Vec<String>>);

impl LookupdAddresses {
    pub(crate) fn get(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    pub(crate) fn set(&self, addresses: Vec<String>) {
        *self.0.lock() = addresses;
    }
}
