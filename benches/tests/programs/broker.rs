//! A broker that the programs are given as their nsqd.

use almanet::{Broker, BrokerConfig};
use tokio::runtime::Runtime;

/// The embedded broker in this process, for as long as this lives.
pub(crate) struct Nsqd {
    address: String,
    broker: Option<Broker>,
    runtime: Runtime,
}

impl Nsqd {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let broker = runtime.block_on(Broker::start(BrokerConfig::default())).unwrap();
        Self {
            address: broker.tcp_addr().to_string(),
            broker: Some(broker),
            runtime,
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Nsqd {
    fn drop(&mut self) {
        let _entered = self.runtime.enter();
        drop(self.broker.take());
    }
}
