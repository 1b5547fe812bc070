//! The producer as its users see it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use almanet_nsq_proto::TopicName;
use bytes::Bytes;
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{
    alarm::Alarm,
    content::Content,
    deadline::{Term, expire, no_answer},
    endpoint::ProducerEndpoint,
    outbox::Outbox,
    publish::Failure,
};
use crate::{
    config::ProducerConfig,
    connection::{ConnectionChange, ConnectionRole, Endpoint, Established, Stop, supervise},
    error::{ConnectError, PublishError},
};

/// What one publish counts besides its messages: about what it takes in memory.
const PUBLISH_OVERHEAD: usize = 128;

/// Publishes to one broker. Cheap to clone; clones share the connection.
///
/// A lost connection is made again, for ever. Meanwhile publishes wait, each as long as the configured
/// `publish_timeout` allows. When the last clone is dropped, the connection is closed.
///
/// Messages to one topic that are queued together leave as one command (MPUB), which the broker confirms or refuses
/// as a whole. Each publish still has its own outcome: when the broker refuses the command because one message is
/// larger than a limit of its own, the others are sent again, each by itself. Messages to one topic leave in the order
/// in which they were queued. To publish many, have many publishes under way at once: there is nothing to collect by hand.
///
/// ```no_run
/// use almanet_nsq::{Producer, ProducerConfig, PublishError, TopicName};
/// use bytes::Bytes;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::connect("127.0.0.1:4150", ProducerConfig::default()).await?;
/// match producer.publish(&TopicName::new("orders")?, Bytes::from_static(b"tea")).await {
///     Ok(()) => println!("the broker has it"),
///     Err(PublishError::NotSent { .. }) => println!("it was not sent: try another broker"),
///     Err(error) => println!("{error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    address: Arc<str>,
    config: ProducerConfig,
    outbox: Arc<Outbox>,
    /// How many bytes may be queued.
    capacity: u32,
    is_closing: AtomicBool,
    /// Whether the last publish that asked for room found none.
    is_full: AtomicBool,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Producer {
    /// Connects to the broker at `address` (`host:port`; the name is resolved at each connect).
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when the first attempt fails; it is not repeated then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up.
    pub async fn connect(address: impl Into<String>, config: ProducerConfig) -> Result<Self, ConnectError> {
        let endpoint = endpoint(address.into().into(), &config, None);
        let established = endpoint.establish().await?;
        Ok(Self::start(endpoint, Some(established), config))
    }

    /// A producer that connects in the background and keeps trying.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as [`tokio::spawn`] does.
    pub fn connect_lazily(address: impl Into<String>, config: ProducerConfig) -> Self {
        Self::start(endpoint(address.into().into(), &config, None), None, config)
    }

    /// Tries once to connect. [`Attempt::keep`] makes a producer of it, whatever came of that.
    ///
    /// What cannot be sent at once is given back instead of queued, and `connected` is notified when that has changed.
    pub(super) async fn attempt(
        address: Arc<str>,
        config: ProducerConfig,
        connected: Arc<Notify>,
    ) -> Attempt {
        let endpoint = endpoint(address, &config, Some(connected));
        let outcome = endpoint.establish().await;
        Attempt {
            endpoint,
            config,
            outcome,
        }
    }

    /// As [`attempt`](Self::attempt), without waiting for the first attempt.
    pub(super) fn attempt_later(address: Arc<str>, config: ProducerConfig, connected: Arc<Notify>) -> Self {
        let endpoint = endpoint(address, &config, Some(connected));
        Self::start(endpoint, None, config)
    }

    fn start(endpoint: ProducerEndpoint, first: Option<Established>, config: ProducerConfig) -> Self {
        let address = Arc::clone(&endpoint.address);
        let outbox = Arc::clone(&endpoint.outbox);
        outbox.is_connected.store(first.is_some(), Ordering::Release);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let at_once = Stop {
            reconnecting: stop.clone(),
            now: stop.clone(),
        };
        tasks.spawn(supervise(endpoint, first, at_once));
        tasks.spawn(expire(Arc::clone(&outbox), config.publish_timeout, stop.clone()));
        tasks.close();
        Self {
            shared: Arc::new(Shared {
                address,
                capacity: capacity(&config),
                config,
                outbox,
                is_closing: AtomicBool::new(false),
                is_full: AtomicBool::new(false),
                tasks,
                stop,
            }),
        }
    }

    /// The broker's address, as it was given.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// As [`address`](Self::address), to keep: consumers name the nodes of their deliveries in the same way.
    pub fn node(&self) -> &Arc<str> {
        &self.shared.address
    }

    /// Whether there is a connection at this moment.
    pub fn is_connected(&self) -> bool {
        self.shared.outbox.is_connected.load(Ordering::Acquire)
    }

    /// Publishes one message; resolves when the broker has taken it in.
    ///
    /// # Errors
    ///
    /// [`PublishError`], which tells whether the message may have been published.
    ///
    /// # Cancel safety
    ///
    /// A publish whose future is dropped before it was written is never sent. Later than that it cannot be undone.
    pub async fn publish(&self, topic: &TopicName, body: Bytes) -> Result<(), PublishError> {
        let content = Content::one(topic, body, &self.shared.config.connection)?;
        self.submit(topic, content).await
    }

    /// Publishes several messages at once, all or none; resolves when the broker has taken them in.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; among others when all messages together are larger than `max_body_size`.
    ///
    /// # Cancel safety
    ///
    /// As [`publish`](Self::publish).
    pub async fn publish_many(&self, topic: &TopicName, bodies: Vec<Bytes>) -> Result<(), PublishError> {
        let content = Content::many(topic, bodies, &self.shared.config.connection)?;
        self.submit(topic, content).await
    }

    /// Publishes one message that is delivered after `delay`, counted in whole milliseconds; resolves when the
    /// broker has taken it in.
    ///
    /// nsqd refuses delays beyond its `--max-req-timeout`, 1 h by default.
    ///
    /// # Errors
    ///
    /// [`PublishError`], which tells whether the message may have been published.
    ///
    /// # Cancel safety
    ///
    /// As [`publish`](Self::publish).
    pub async fn publish_after(
        &self,
        topic: &TopicName,
        delay: Duration,
        body: Bytes,
    ) -> Result<(), PublishError> {
        let content = Content::deferred(topic, delay, body, &self.shared.config.connection)?;
        self.submit(topic, content).await
    }

    /// Takes no further publishes, waits until each that is under way is confirmed or has failed, and closes the
    /// connection. For all clones.
    ///
    /// It takes `publish_timeout` at most, since each publish does.
    ///
    /// # Cancel safety
    ///
    /// Publishes are refused from the first poll on; dropping the future leaves the connection open.
    pub async fn close(&self) {
        let shared = &self.shared;
        shared.is_closing.store(true, Ordering::Release);
        // All room is free once nothing is queued or unconfirmed.
        drop(shared.outbox.room.acquire_many(shared.capacity).await);
        shared.stop.cancel();
        shared.tasks.wait().await;
    }

    async fn submit(&self, topic: &TopicName, content: Content) -> Result<(), PublishError> {
        let term = Term::whole(self.shared.config.publish_timeout);
        self.submit_within(topic, content, term).await
    }

    /// Publishes within a term that may be shorter than what is configured, but never longer.
    pub(super) async fn submit_within(
        &self,
        topic: &TopicName,
        content: Content,
        term: Term,
    ) -> Result<(), PublishError> {
        let shared = &*self.shared;
        if shared.is_closing.load(Ordering::Acquire) {
            return Err(PublishError::Closed);
        }
        let Term {
            begun,
            deadline,
            is_whole,
        } = term;
        let not_sent = || self.error(Failure::NotSent, topic, begun);

        let cost = self.cost(&content);
        let (room, is_late) = match shared.outbox.room.try_acquire_many(cost) {
            Ok(room) => {
                shared.had_room();
                (room, !is_whole)
            }
            Err(_) => {
                shared.had_no_room();
                let room = shared.outbox.room.acquire_many(cost);
                // Boxed, so that publishes that find room at once carry none of it.
                match Box::pin(timeout_at(deadline, room)).await {
                    Ok(Ok(room)) => (room, true),
                    Ok(Err(_)) => return Err(PublishError::Closed),
                    Err(_) => return Err(not_sent()),
                }
            }
        };
        let mut receipt = match shared.outbox.push(content, deadline, room) {
            Ok(receipt) => receipt,
            Err(Failure::NotSent) => return Err(not_sent()),
            Err(_) => return Err(PublishError::Closed),
        };
        // Deadlines are kept for the whole queue, which has them in order. Only a publish that waited for room, or
        // that has a shorter term, has an earlier one than those before it, and looks after itself.
        let outcome = if is_late {
            // Boxed, so that the others carry no timer.
            let settled = Box::pin(timeout_at(deadline, receipt.settled())).await;
            match settled {
                Ok(outcome) => outcome,
                Err(_) => receipt.give_up(no_answer(deadline.saturating_duration_since(begun))),
            }
        } else {
            receipt.settled().await
        };
        outcome.map_err(|failed| self.error(failed.failure, topic, begun))
    }

    /// Queues a publish if it can be sent soon, and does not wait for the answer; else gives it back.
    pub(super) fn post(
        &self,
        content: Content,
        deadline: Instant,
        alarm: impl FnOnce() -> Alarm,
    ) -> Result<u64, Content> {
        let shared = &*self.shared;
        let cost = self.cost(&content);
        let room = match shared.outbox.room.try_acquire_many(cost) {
            Ok(room) if !shared.is_closing.load(Ordering::Acquire) => room,
            _ => return Err(content),
        };
        shared.outbox.post(content, deadline, room, alarm)
    }

    /// The room that a publish takes.
    fn cost(&self, content: &Content) -> u32 {
        let cost = u32::try_from(content.size + PUBLISH_OVERHEAD).unwrap_or(u32::MAX);
        cost.min(self.shared.capacity)
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.shared.outbox
    }

    /// Why a publish failed that began at `begun`.
    pub(super) fn error(&self, failure: Failure, topic: &TopicName, begun: Instant) -> PublishError {
        let (address, topic) = (Arc::clone(&self.shared.address), topic.clone());
        match failure {
            Failure::Refused(cause) => PublishError::Refused {
                address,
                topic,
                cause,
            },
            Failure::Unconfirmed(reason) => PublishError::Unconfirmed {
                address,
                topic,
                reason,
            },
            Failure::NotSent => PublishError::NotSent {
                address,
                topic,
                waited: begun.elapsed(),
            },
            Failure::Closed => PublishError::Closed,
        }
    }
}

/// A first attempt to connect, which nothing has followed yet.
pub(super) struct Attempt {
    endpoint: ProducerEndpoint,
    config: ProducerConfig,
    outcome: Result<Established, ConnectError>,
}

impl Attempt {
    pub(super) fn is_connected(&self) -> bool {
        self.outcome.is_ok()
    }

    /// Why there is no connection, if there is none.
    pub(super) fn into_error(self) -> Option<ConnectError> {
        self.outcome.err()
    }

    /// The producer; where the attempt failed, it goes on trying in the background.
    pub(super) fn keep(self) -> Producer {
        let first = self
            .outcome
            .inspect_err(
                |error| warn!(%error, "a node cannot be reached, it is tried again in the background"),
            )
            .ok();
        Producer::start(self.endpoint, first, self.config)
    }
}

impl Shared {
    fn had_room(&self) {
        if self.is_full.load(Ordering::Relaxed) {
            self.is_full.store(false, Ordering::Relaxed);
        }
    }

    /// The first publish that finds no room says so.
    fn had_no_room(&self) {
        if self.is_full.swap(true, Ordering::Relaxed) {
            return;
        }
        let limit = self.capacity as usize;
        warn!(address = %self.address, limit, "the queue is full, publishes wait for room");
        if let Some(observer) = &self.config.connection.observer {
            let change = ConnectionChange::QueueFull { limit };
            observer.tell(&self.address, ConnectionRole::Producer, change);
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("address", &self.shared.address)
            .field("is_connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

fn endpoint(address: Arc<str>, config: &ProducerConfig, gives_back: Option<Arc<Notify>>) -> ProducerEndpoint {
    ProducerEndpoint {
        address,
        config: config.connection.clone(),
        outbox: Arc::new(Outbox::new(capacity(config), gives_back)),
    }
}

/// How many bytes may be queued.
fn capacity(config: &ProducerConfig) -> u32 {
    let most = config.max_queued_bytes.min(Semaphore::MAX_PERMITS);
    u32::try_from(most).unwrap_or(u32::MAX).max(1)
}
