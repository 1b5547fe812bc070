//! What can be set about discovery, and why each default is what it is.

use std::{sync::Arc, time::Duration};

use super::poll::longest_wait;
use crate::config::{LONGEST, SHORTEST};

/// How nsqlookupd is asked.
///
/// ```
/// use std::time::Duration;
///
/// use almanet_nsq::LookupConfig;
///
/// let config = LookupConfig::default()
///     .poll_interval(Duration::from_secs(15))
///     .fixed_nodes(["10.0.0.1:4150"]);
/// ```
#[derive(Clone, Debug)]
pub struct LookupConfig {
    pub(super) poll_interval: Duration,
    pub(super) request_timeout: Duration,
    pub(super) max_answer_size: usize,
    pub(super) fixed_nodes: Vec<Arc<str>>,
}

impl Default for LookupConfig {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(60),
            request_timeout: Duration::from_secs(2),
            max_answer_size: 4 * 1024 * 1024,
            fixed_nodes: Vec::new(),
        }
    }
}

impl LookupConfig {
    /// How long to wait between two polls, on average.
    ///
    /// 60 s by default, as NSQ's client guide has it: nodes seldom come and go. Each wait is up to 30 % shorter or
    /// longer, and the first one anything up to the whole, so that a fleet that starts at once does not ask at once.
    #[must_use]
    pub fn poll_interval(mut self, poll_interval: Duration) -> Self {
        self.poll_interval = poll_interval.clamp(SHORTEST, LONGEST);
        self
    }

    /// How long one nsqlookupd may take to answer, from the connection to the last byte.
    ///
    /// 2 s by default: it answers from memory, and whoever waits for the first poll waits for the slowest.
    #[must_use]
    pub fn request_timeout(mut self, request_timeout: Duration) -> Self {
        self.request_timeout = request_timeout.clamp(SHORTEST, LONGEST);
        self
    }

    /// The largest answer in bytes that is read; a larger one counts as none.
    ///
    /// 4 MiB by default: a node with a hundred topics takes about 4 KiB, so this is enough for a thousand of them.
    #[must_use]
    pub fn max_answer_size(mut self, max_answer_size: usize) -> Self {
        self.max_answer_size = max_answer_size;
        self
    }

    /// Nodes (each `host:port`) that are always there, whatever nsqlookupd says.
    ///
    /// None by default. Write them as nsqlookupd does (the node's `--broadcast-address` and TCP port): the same node
    /// under another name counts as another node.
    #[must_use]
    pub fn fixed_nodes(mut self, nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.fixed_nodes = nodes.into_iter().map(|node| node.into().into()).collect();
        self
    }

    /// The longest time after which somebody with these settings has found a node that another has found just now,
    /// as long as nsqlookupd answers.
    ///
    /// [`ProducerPoolConfig::settling_time`](crate::ProducerPoolConfig::settling_time) has a use for it.
    pub fn longest_until_found(&self) -> Duration {
        longest_wait(self.poll_interval).saturating_add(self.request_timeout)
    }
}
