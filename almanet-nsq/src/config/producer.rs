//! The settings of a producer.

use std::time::Duration;

use super::{ConnectionConfig, LONGEST, SHORTEST};

/// How a [`Producer`](crate::Producer) publishes.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    pub(crate) connection: ConnectionConfig,
    pub(crate) publish_timeout: Duration,
    pub(crate) max_queued_bytes: usize,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            connection: ConnectionConfig::default(),
            publish_timeout: Duration::from_secs(15),
            max_queued_bytes: 64 * 1024 * 1024,
        }
    }
}

impl ProducerConfig {
    /// How the connection is made and kept.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionConfig) -> Self {
        self.connection = connection;
        self
    }

    /// How long one publish may take, from the call to the broker's confirmation.
    ///
    /// 15 s by default: it outlasts the restart of a broker, so that such a restart costs time and no publish.
    #[must_use]
    pub fn publish_timeout(mut self, publish_timeout: Duration) -> Self {
        self.publish_timeout = publish_timeout.clamp(SHORTEST, LONGEST);
        self
    }

    /// How many bytes may wait to be sent or confirmed; publishes beyond that wait for room.
    ///
    /// 64 MiB by default. Each publish counts with its messages and 128 bytes for itself. Values above 4 GiB
    /// count as 4 GiB.
    #[must_use]
    pub fn max_queued_bytes(mut self, max_queued_bytes: usize) -> Self {
        self.max_queued_bytes = max_queued_bytes;
        self
    }
}
