//! The bounds on memory, and how reaching one is told.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use almanet_nsq_proto::{ChannelName, Message, TopicName};
use parking_lot::Mutex;

/// How many messages an ephemeral channel keeps: nsqd's default `--mem-queue-size`.
pub(crate) const EPHEMERAL_DEPTH: usize = 10_000;

/// What a topic or a channel counts, in bytes.
pub(crate) const ROOM_COST: usize = 1024;

/// What a waiting message takes beside its body, in bytes.
const MESSAGE_OVERHEAD: usize = 96;

/// The least time between two log lines about one limit.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// What a waiting message counts, in bytes.
pub(crate) fn cost(message: &Message) -> usize {
    body_cost(message.body.len())
}

/// What a waiting message with a body of `length` bytes counts, in bytes.
pub(crate) fn body_cost(length: usize) -> usize {
    length + MESSAGE_OVERHEAD
}

/// How many bytes wait in all topics together.
///
/// The limit is looked at before a message is taken in and counted afterwards, so publishers at the very same
/// moment can exceed it by what each of them publishes at once.
#[derive(Debug)]
pub(crate) struct Memory {
    used: AtomicUsize,
    limit: usize,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit,
        }
    }

    /// Refuses when `bytes` more are too many.
    pub(crate) fn check_room(&self, bytes: usize) -> Result<(), LimitReached> {
        if self.used.load(Ordering::Relaxed).saturating_add(bytes) <= self.limit {
            return Ok(());
        }
        Err(LimitReached::Memory { limit: self.limit })
    }

    pub(crate) fn charge(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// The limit that a publisher or subscriber ran into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitReached {
    #[error("channel {channel} of topic {topic} is full: max_channel_depth is {limit} messages")]
    ChannelDepth {
        topic: TopicName,
        channel: ChannelName,
        limit: usize,
    },
    #[error("topic {topic} has no channel and is full: max_channel_depth is {limit} messages")]
    TopicDepth { topic: TopicName, limit: usize },
    #[error("topic {topic} is paused and full: max_channel_depth is {limit} messages")]
    PausedDepth { topic: TopicName, limit: usize },
    #[error("the broker is full: max_memory is {limit} bytes")]
    Memory { limit: usize },
}

/// Writes about limits into the log, but not for each refusal; counts each.
#[derive(Debug, Default)]
pub(crate) struct LimitLog {
    depth: Mutex<Option<Instant>>,
    memory: Mutex<Option<Instant>>,
    depth_refusals: AtomicU64,
    memory_refusals: AtomicU64,
}

impl LimitLog {
    pub(crate) fn report(&self, reached: &LimitReached, now: Instant) {
        let (last, refusals) = match reached {
            LimitReached::ChannelDepth { .. }
            | LimitReached::TopicDepth { .. }
            | LimitReached::PausedDepth { .. } => (&self.depth, &self.depth_refusals),
            LimitReached::Memory { .. } => (&self.memory, &self.memory_refusals),
        };
        refusals.fetch_add(1, Ordering::Relaxed);
        let mut last = last.lock();
        if last.is_none_or(|last| now.saturating_duration_since(last) >= REPORT_INTERVAL) {
            *last = Some(now);
            tracing::warn!("refusing: {reached}");
        }
    }

    /// How many commands were refused because a channel or a topic was full.
    pub(crate) fn depth_refusals(&self) -> u64 {
        self.depth_refusals.load(Ordering::Relaxed)
    }

    /// How many commands were refused because the broker was full.
    pub(crate) fn memory_refusals(&self) -> u64 {
        self.memory_refusals.load(Ordering::Relaxed)
    }
}
