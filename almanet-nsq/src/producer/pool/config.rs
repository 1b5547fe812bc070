//! What can be set about a pool, and why each default is what it is.

use std::{ops::RangeInclusive, time::Duration};

use crate::config::{LONGEST, ProducerConfig, SHORTEST};

/// Whether a publish that was sent and not confirmed may be sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// It may not: it ends as [`PublishError::Unconfirmed`](crate::PublishError::Unconfirmed). The default, since
    /// only the caller knows what a duplicate does.
    #[default]
    Never,
    /// It may, through another node where there is one, as long as its time lasts: the message can be published
    /// twice, also on two nodes.
    Allowed,
}

/// How a [`ProducerPool`](crate::ProducerPool) publishes.
///
/// ```
/// use std::time::Duration;
///
/// use almanet_nsq::{Duplicates, ProducerConfig, ProducerPoolConfig};
///
/// let each = ProducerConfig::default().publish_timeout(Duration::from_secs(5));
/// let config = ProducerPoolConfig::default().producer(each).duplicates(Duplicates::Allowed);
/// ```
#[derive(Clone, Debug)]
pub struct ProducerPoolConfig {
    pub(super) producer: ProducerConfig,
    pub(super) duplicates: Duplicates,
    pub(super) confirm_timeout: Duration,
    pub(super) avoid: RangeInclusive<Duration>,
    pub(super) settling_time: Duration,
}

impl Default for ProducerPoolConfig {
    fn default() -> Self {
        Self {
            producer: ProducerConfig::default(),
            duplicates: Duplicates::default(),
            confirm_timeout: Duration::from_secs(5),
            avoid: Duration::from_millis(500)..=Duration::from_secs(30),
            settling_time: Duration::ZERO,
        }
    }
}

impl ProducerPoolConfig {
    /// The producer that each node has.
    ///
    /// Its `publish_timeout` is the time that a publish has in all, whatever number of nodes it tries; its
    /// `max_queued_bytes` counts for each node.
    #[must_use]
    pub fn producer(mut self, producer: ProducerConfig) -> Self {
        self.producer = producer;
        self
    }

    /// Whether publishes that were sent and not confirmed may be sent again, unless
    /// [`ProducerPool::duplicates`](crate::ProducerPool::duplicates) says otherwise.
    #[must_use]
    pub fn duplicates(mut self, duplicates: Duplicates) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// How long a node may take to confirm a publish before it is sent to another, where duplicates are allowed.
    ///
    /// 5 s by default: a node that is only busy confirms within that, and two others can still be tried within the
    /// `publish_timeout` of 15 s.
    #[must_use]
    pub fn confirm_timeout(mut self, confirm_timeout: Duration) -> Self {
        self.confirm_timeout = confirm_timeout.clamp(SHORTEST, LONGEST);
        self
    }

    /// How long a node that failed is avoided while others are there: after its first failure, and at most.
    ///
    /// 500 ms to 30 s by default: a broker that restarts gets its share again soon. The time doubles with each
    /// failure, and ends with the first publish that the node confirms. After it, one publish probes the node.
    #[must_use]
    pub fn avoid(mut self, avoid: RangeInclusive<Duration>) -> Self {
        let clamp = |time: &Duration| (*time).clamp(SHORTEST, LONGEST);
        self.avoid = clamp(avoid.start())..=clamp(avoid.end());
        self
    }

    /// How long a node that is found later is left to the others to find, before it gets its share.
    ///
    /// None by default. Consumers find a node with their own polls of nsqlookupd, so messages that are published
    /// there at once wait until then. Where messages should not wait, let this be longer than the consumers'
    /// `poll_interval`. When there is no other node, it is used all the same.
    #[must_use]
    pub fn settling_time(mut self, settling_time: Duration) -> Self {
        self.settling_time = settling_time.min(LONGEST);
        self
    }
}
