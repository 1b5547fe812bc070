//! What can be set, and why each default is what it is.

use std::time::Duration;

use tokio_nsq::NSQConfigShared;

/// How often tokio-nsq looks whether a connection has the RDY count that it should have. A connection that was made
/// again gets no message before; its own default is 5 s.
pub(crate) const REBALANCE_INTERVAL: Duration = Duration::from_millis(250);

/// The settings of a [`TokioNsqTransport`](crate::TokioNsqTransport).
///
/// ```
/// use std::time::Duration;
///
/// use almanet_tokio_nsq::TokioNsqTransportConfig;
///
/// let config = TokioNsqTransportConfig::default().flush_interval(Duration::from_millis(5));
/// # let _ = config;
/// ```
#[derive(Debug, Clone)]
pub struct TokioNsqTransportConfig {
    pub(crate) connect_timeout: Duration,
    pub(crate) publish_timeout: Duration,
    pub(crate) flush_interval: Duration,
    pub(crate) max_message_size: usize,
    pub(crate) broker_message_timeout: Duration,
}

impl Default for TokioNsqTransportConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            publish_timeout: Duration::from_secs(15),
            flush_interval: Duration::from_millis(1),
            max_message_size: 1024 * 1024,
            broker_message_timeout: Duration::from_secs(60),
        }
    }
}

impl TokioNsqTransportConfig {
    /// How long connecting and subscribing may take.
    ///
    /// 5 s by default, as in `almanet-nsq`. It is always spent in full on an address that nothing listens on, because
    /// tokio-nsq tries again for ever and does not tell.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a publication waits for its confirmation.
    ///
    /// 15 s by default, as in `almanet-nsq`.
    #[must_use]
    pub fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.publish_timeout = timeout;
        self
    }

    /// How often what is queued is written; tokio-nsq writes at no other time, unless 8 KiB are queued.
    ///
    /// 1 ms by default, the shortest that Tokio's timers can do, since each call waits for it twice (four times where
    /// the callee uses this transport too). Each connection wakes up as often, even if there is nothing to do.
    /// tokio-nsq's own default is 250 ms. Anything shorter counts as 1 ms.
    #[must_use]
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// The largest message in bytes that is sent; five times as much for several together.
    ///
    /// 1 MiB by default, as nsqd's `--max-msg-size`. A larger one would end the connection, and take with it what is
    /// unconfirmed.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// How long the broker waits for the answer to a message, for it cannot be asked through tokio-nsq, nor told.
    ///
    /// 60 s by default, as nsqd's `--msg-timeout`.
    #[must_use]
    pub fn broker_message_timeout(mut self, timeout: Duration) -> Self {
        self.broker_message_timeout = timeout;
        self
    }

    /// The settings that tokio-nsq has for both directions.
    pub(crate) fn shared(&self) -> NSQConfigShared {
        NSQConfigShared::new()
            .set_flush_interval(self.flush_interval)
            .set_user_agent(concat!("almanet-tokio-nsq/", env!("CARGO_PKG_VERSION")))
    }
}
