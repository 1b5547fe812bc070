//! The settings of a consumer.

use std::time::Duration;

use super::{ConnectionConfig, Window};

/// How a [`Consumer`](crate::Consumer) reads its channel.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    pub(crate) connection: ConnectionConfig,
    pub(crate) max_in_flight: usize,
    pub(crate) window: Window,
    pub(crate) msg_timeout: Option<Duration>,
    pub(crate) close_timeout: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            connection: ConnectionConfig::default(),
            max_in_flight: 256,
            window: Window::Adaptive,
            msg_timeout: None,
            close_timeout: Duration::from_secs(30),
        }
    }
}

impl ConsumerConfig {
    /// How the connections are made and kept.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionConfig) -> Self {
        self.connection = connection;
        self
    }

    /// How many messages may be unanswered at once, over all connections.
    ///
    /// 256 by default: enough to keep a fast handler busy, few enough to share a channel with other consumers.
    /// Each connection gets its share, at least one message and at most what its broker grants (`max_rdy_count`).
    #[must_use]
    pub fn max_in_flight(mut self, max_in_flight: usize) -> Self {
        self.max_in_flight = max_in_flight;
        self
    }

    /// How many of these the broker may send ahead, and whether it may gather them.
    ///
    /// [`Window::Adaptive`] by default: as fast for a lone message as for a flood.
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// How long the broker waits for the answer to a message before it delivers the message again.
    ///
    /// The broker's own by default (nsqd: 60 s). nsqd refuses less than 1 s and more than its
    /// `--max-msg-timeout` (15 min).
    #[must_use]
    pub fn msg_timeout(mut self, msg_timeout: Duration) -> Self {
        self.msg_timeout = Some(msg_timeout);
        self
    }

    /// How long [`Consumer::close`](crate::Consumer::close) waits for deliveries that are being handled.
    ///
    /// 30 s by default, as long as orchestrators commonly wait before they kill a process.
    #[must_use]
    pub fn close_timeout(mut self, close_timeout: Duration) -> Self {
        self.close_timeout = close_timeout;
        self
    }
}
