//! A producer as its connection sees it.

use std::sync::Arc;

use super::{batch::Batch, confirm::Confirmations, outbox::Outbox};
use crate::{
    config::ConnectionConfig,
    connection::{ConnectionRole, Ended, Endpoint, Established, Incoming, Outgoing, Purpose, connect},
    error::ConnectError,
};

#[derive(Debug)]
pub(super) struct ProducerEndpoint {
    pub(super) address: Arc<str>,
    pub(super) config: ConnectionConfig,
    pub(super) outbox: Arc<Outbox>,
}

impl Endpoint for ProducerEndpoint {
    fn address(&self) -> &str {
        &self.address
    }

    fn role(&self) -> ConnectionRole {
        ConnectionRole::Producer
    }

    fn config(&self) -> &ConnectionConfig {
        &self.config
    }

    async fn establish(&self) -> Result<Established, ConnectError> {
        connect(&self.address, &self.config, &Purpose::default()).await
    }

    fn open(&mut self, _established: &Established) -> (impl Outgoing + use<>, impl Incoming + use<>) {
        self.outbox.open();
        let confirmations = Confirmations::new(Arc::clone(&self.address), Arc::clone(&self.outbox));
        let batch = Batch::new(Arc::clone(&self.outbox), self.config.max_body_size);
        (batch, confirmations)
    }

    fn shut(&mut self, ended: &Ended) {
        self.outbox.lose(ended);
    }
}

impl Drop for ProducerEndpoint {
    /// Without this end of it nothing would ever leave the outbox, even if only the runtime went away.
    fn drop(&mut self) {
        self.outbox.close();
    }
}
