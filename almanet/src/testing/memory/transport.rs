//! The broker in memory, and the transport to it.

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::queue::{Message, Next, Run, Topics, after};
use crate::transport::{
    Acknowledge, AnswerError, ChannelName, Delivery, MessageId, Publication, PublishError, Source,
    SubscribeError, SubscribeOptions, Subscription, TopicName, TopicsError, Transport,
};

/// nsqd's default.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// nsqd's default.
const LARGEST_MESSAGE: usize = 1024 * 1024;
const NODE: &str = "memory";

/// A broker without sockets and tasks, for tests with a paused clock. Clones are one broker.
///
/// Topics, channels, requeueing, delays, message timeouts and attempts are as with nsqd; limits but the size of a message are
/// not kept. A subscriber gets a message only when it asks for one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use almanet::{Session, testing::MemoryBroker};
///
/// let broker = MemoryBroker::new();
/// let session = Session::builder().transport(broker.transport()).connect().await?;
/// session.produce("net.example.joined", &"Aidar").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryBroker {
    topics: Arc<Mutex<Topics>>,
}

impl MemoryBroker {
    /// A broker without topics.
    pub fn new() -> Self {
        Self::default()
    }

    /// A way to the broker, for one session.
    pub fn transport(&self) -> MemoryTransport {
        MemoryTransport {
            broker: self.clone(),
            closed: CancellationToken::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Topics> {
        // Nothing panics while it holds the lock, so the topics are whole even if the lock says poisoned.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The transport to a [`MemoryBroker`].
#[derive(Debug)]
pub struct MemoryTransport {
    broker: MemoryBroker,
    closed: CancellationToken,
}

#[async_trait]
impl Transport for MemoryTransport {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let Publication {
            topic, bodies, delay, ..
        } = publication;
        if self.closed.is_cancelled() {
            return Err(PublishError::Closed);
        }
        if bodies.is_empty() || bodies.iter().any(Bytes::is_empty) {
            return Err(PublishError::Empty { topic });
        }
        if let Some(size) = bodies.iter().map(Bytes::len).find(|size| *size > LARGEST_MESSAGE) {
            return Err(PublishError::TooLarge {
                topic,
                size,
                limit: LARGEST_MESSAGE,
            });
        }
        let mut topics = self.broker.lock();
        topics.publish(&topic, bodies, delay.unwrap_or_default(), Instant::now());
        Ok(())
    }

    async fn subscribe(
        &self,
        topic: &TopicName,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        if self.closed.is_cancelled() {
            return Err(SubscribeError::Closed);
        }
        self.broker.lock().subscribe(topic, channel);
        Ok(Subscription::new(Box::new(MemorySource {
            place: Place {
                broker: self.broker.clone(),
                topic: topic.clone(),
                channel: channel.clone(),
            },
            message_timeout: options.message_timeout.unwrap_or(MESSAGE_TIMEOUT),
            close_timeout: options.close_timeout,
            wakes: None,
            closed: Box::pin(self.closed.clone().cancelled_owned()),
            unanswered: TaskTracker::new(),
        })))
    }

    async fn topics(&self) -> Result<BTreeSet<TopicName>, TopicsError> {
        Ok(self.broker.lock().names())
    }

    async fn has_subscribers(&self, topic: &TopicName) -> Result<bool, TopicsError> {
        Ok(self.broker.lock().is_read(topic))
    }

    async fn close(&self) {
        self.closed.cancel();
    }
}

/// Where a message was.
#[derive(Clone)]
struct Place {
    broker: MemoryBroker,
    topic: TopicName,
    channel: ChannelName,
}

struct MemorySource {
    place: Place,
    message_timeout: Duration,
    close_timeout: Duration,
    /// When a message can be had that cannot be now.
    wakes: Option<Pin<Box<Sleep>>>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
    unanswered: TaskTracker,
}

#[async_trait]
impl Source for MemorySource {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if self.closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            let Place {
                broker,
                topic,
                channel,
            } = &self.place;
            let now = Instant::now();
            let next = broker
                .lock()
                .next(topic, channel, now, self.message_timeout, cx.waker());
            let later = match next {
                Next::Message(message) => return Poll::Ready(Some(self.delivery(message))),
                Next::Later(later) => later,
                Next::Never => {
                    self.wakes = None;
                    return Poll::Pending;
                }
            };
            let wakes = self.wakes.insert(Box::pin(sleep_until(later)));
            if wakes.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    async fn close(self: Box<Self>) {
        self.unanswered.close();
        // Those that are not answered in time come back by their own timeout.
        let _ = timeout(self.close_timeout, self.unanswered.wait()).await;
    }
}

impl MemorySource {
    fn delivery(&self, message: Message) -> Delivery {
        let id = MessageId::from_number(message.id);
        // Callees count the age of a call by the clock of the machine, which does not pause.
        let published = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .saturating_sub(message.published.elapsed());
        let answer = Answer {
            place: Some(self.place.clone()),
            run: Run {
                id: message.id,
                attempt: message.attempts,
            },
            message_timeout: self.message_timeout,
            _unanswered: self.unanswered.token(),
        };
        Delivery::new(
            message.body,
            id,
            i64::try_from(published.as_nanos()).unwrap_or(i64::MAX),
            message.attempts,
            NODE.into(),
            self.message_timeout,
            Box::new(answer),
        )
    }
}

impl Drop for MemorySource {
    fn drop(&mut self) {
        let Place {
            broker,
            topic,
            channel,
        } = &self.place;
        broker.lock().unsubscribe(topic, channel);
    }
}

/// The way back of one message; dropped unused, it gives the message back.
struct Answer {
    /// `None` once it has been answered.
    place: Option<Place>,
    run: Run,
    message_timeout: Duration,
    _unanswered: TaskTrackerToken,
}

impl Answer {
    fn checked(&self, in_flight: bool) -> Result<(), AnswerError> {
        match in_flight {
            true => Ok(()),
            false => Err(AnswerError::ConnectionLost {
                node: NODE.into(),
                id: MessageId::from_number(self.run.id),
            }),
        }
    }

    /// Publishes what is to be published, if anything, and ends the message.
    fn finish_behind(&mut self, published: Option<(&TopicName, Bytes)>) -> bool {
        let Some(place) = self.place.take() else {
            return false;
        };
        let mut topics = place.broker.lock();
        if let Some((topic, body)) = published {
            topics.publish(topic, vec![body], Duration::ZERO, Instant::now());
        }
        topics.finish(&place.topic, &place.channel, self.run)
    }

    fn requeue_after(&mut self, delay: Duration) -> bool {
        let Some(place) = self.place.take() else {
            return false;
        };
        let due = after(Instant::now(), delay);
        let mut topics = place.broker.lock();
        topics.requeue(&place.topic, &place.channel, self.run, due)
    }
}

impl Acknowledge for Answer {
    fn finish(mut self: Box<Self>) -> Result<(), AnswerError> {
        let finished = self.finish_behind(None);
        self.checked(finished)
    }

    fn publish_and_finish(
        mut self: Box<Self>,
        topic: &TopicName,
        body: Bytes,
    ) -> Result<(), Box<dyn Acknowledge>> {
        if body.is_empty() || body.len() > LARGEST_MESSAGE {
            return Err(self);
        }
        self.finish_behind(Some((topic, body)));
        Ok(())
    }

    fn requeue(mut self: Box<Self>, delay: Duration) -> Result<(), AnswerError> {
        let requeued = self.requeue_after(delay);
        self.checked(requeued)
    }

    fn touch(&self) -> Result<(), AnswerError> {
        let Some(place) = &self.place else {
            return self.checked(false);
        };
        let expires = after(Instant::now(), self.message_timeout);
        let mut topics = place.broker.lock();
        self.checked(topics.touch(&place.topic, &place.channel, self.run, expires))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.requeue_after(Duration::ZERO);
    }
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySource")
            .field("topic", &self.place.topic)
            .finish_non_exhaustive()
    }
}
