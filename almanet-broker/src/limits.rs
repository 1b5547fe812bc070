//! The bounds on memory, and how reaching one is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
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

/// How many bytes wait in all topics together, and how many are in flight.
///
/// The limit is looked at before a message is taken in and counted afterwards, so publishers at the very same
/// moment can exceed it by what each of them publishes at once.
#[derive(Debug)]
pub(crate) struct Memory {
    used: AtomicUsize,
    in_flight: AtomicUsize,
    /// What is there of bodies that are not there whole.
    arriving: AtomicUsize,
    limit: usize,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            arriving: AtomicUsize::new(0),
            limit,
        }
    }

    /// Refuses when `bytes` more that would have to wait are too many.
    pub(crate) fn check_room(&self, bytes: usize) -> Result<(), LimitReached> {
        self.check(self.used.load(Ordering::Relaxed).saturating_add(bytes))
    }

    /// Refuses a new channel when there is no room for it.
    ///
    /// Channels may take a quarter beyond the limit: where messages have filled the broker, it is the consumer
    /// who comes now that makes room.
    pub(crate) fn check_room_for_channel(&self) -> Result<(), LimitReached> {
        let wanted = self.used.load(Ordering::Relaxed).saturating_add(ROOM_COST);
        if wanted <= self.limit.saturating_add(self.limit / 4) {
            return Ok(());
        }
        Err(LimitReached::Memory { limit: self.limit })
    }

    /// Refuses when `bytes` more in flight are too many, whatever waits: what is consumed at once goes on when
    /// queues that nobody reads are full.
    pub(crate) fn check_room_in_flight(&self, bytes: usize) -> Result<(), LimitReached> {
        self.check(bytes)
    }

    fn check(&self, bytes: usize) -> Result<(), LimitReached> {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        if in_flight.saturating_add(bytes) <= self.limit {
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

/// What one connection has sent of a body that is not there whole.
///
/// Many clients that stop in the middle of a large message could hold any amount of memory. So this has the limit of
/// [`Memory`] too, though for itself: a queue that nobody reads does not end what others send.
#[derive(Debug)]
pub(crate) struct ArrivingShare {
    memory: Arc<Memory>,
    bytes: usize,
}

impl ArrivingShare {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        Self { memory, bytes: 0 }
    }

    /// Notes how many bytes are there now. Refuses more than there is room for; then none of them count.
    pub(crate) fn set(&mut self, bytes: usize) -> Result<(), LimitReached> {
        let arriving = &self.memory.arriving;
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            let limit = self.memory.limit;
            if arriving.fetch_add(more, Ordering::Relaxed).saturating_add(more) > limit {
                arriving.fetch_sub(bytes, Ordering::Relaxed);
                self.bytes = 0;
                return Err(LimitReached::Memory { limit });
            }
        } else if bytes < self.bytes {
            arriving.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for ArrivingShare {
    fn drop(&mut self) {
        self.memory.arriving.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What one channel has in flight.
///
/// Messages come and go here far more often than they wait, so [`Memory`] is told in steps: the count that all
/// channels share is seldom written, and wrong by at most a step for each channel.
#[derive(Debug)]
pub(crate) struct InFlightShare {
    memory: Arc<Memory>,
    bytes: usize,
    told: usize,
}

/// How many bytes a channel may have more or less in flight than [`Memory`] knows.
const STEP: usize = 16 * 1024;

impl InFlightShare {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        Self {
            memory,
            bytes: 0,
            told: 0,
        }
    }

    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes - self.told.min(self.bytes) >= STEP {
            self.tell();
        }
    }

    pub(crate) fn remove(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.told.saturating_sub(self.bytes) >= STEP {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let in_flight = &self.memory.in_flight;
        if self.bytes > self.told {
            in_flight.fetch_add(self.bytes - self.told, Ordering::Relaxed);
        } else {
            in_flight.fetch_sub(self.told - self.bytes, Ordering::Relaxed);
        }
        self.told = self.bytes;
    }
}

impl Drop for InFlightShare {
    fn drop(&mut self) {
        self.bytes = 0;
        self.tell();
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
    // The words of nsqd.
    #[error("consumers for {topic}:{channel} exceeds limit of {limit}")]
    Consumers {
        topic: TopicName,
        channel: ChannelName,
        limit: usize,
    },
    #[error("the broker has {limit} connections, its limit")]
    Connections { limit: usize },
}

/// Writes about limits into the log, but not for each refusal; counts each.
#[derive(Debug, Default)]
pub(crate) struct LimitLog {
    depth: Mutex<Option<Instant>>,
    memory: Mutex<Option<Instant>>,
    consumers: Mutex<Option<Instant>>,
    connections: Mutex<Option<Instant>>,
    depth_refusals: AtomicU64,
    memory_refusals: AtomicU64,
    consumer_refusals: AtomicU64,
    connection_refusals: AtomicU64,
}

impl LimitLog {
    pub(crate) fn report(&self, reached: &LimitReached, now: Instant) {
        let (last, refusals) = match reached {
            LimitReached::ChannelDepth { .. }
            | LimitReached::TopicDepth { .. }
            | LimitReached::PausedDepth { .. } => (&self.depth, &self.depth_refusals),
            LimitReached::Memory { .. } => (&self.memory, &self.memory_refusals),
            LimitReached::Consumers { .. } => (&self.consumers, &self.consumer_refusals),
            LimitReached::Connections { .. } => (&self.connections, &self.connection_refusals),
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

    /// How many subscriptions were refused because the channel had as many as it may have.
    pub(crate) fn consumer_refusals(&self) -> u64 {
        self.consumer_refusals.load(Ordering::Relaxed)
    }

    /// How many connections were refused because there were as many as there may be.
    pub(crate) fn connection_refusals(&self) -> u64 {
        self.connection_refusals.load(Ordering::Relaxed)
    }

    /// How many commands were refused because the broker was full.
    pub(crate) fn memory_refusals(&self) -> u64 {
        self.memory_refusals.load(Ordering::Relaxed)
    }
}
