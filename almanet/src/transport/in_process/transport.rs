//! Publishing and subscribing without leaving the process.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use almanet_nsq::{ChannelName, ErrorCode, MessageId, ProtocolError, PublishError, TopicName};
use async_trait::async_trait;
use tokio::time::Instant;

use super::{queue::Queued, subscription::InProcessSource, topics::Topics};
use crate::transport::{
    api::{Publication, SubscribeOptions, Subscription, Transport},
    error::{SubscribeError, TopicsError},
};

/// The name of the only node.
pub(super) const NODE: &str = "in-process";

/// nsqd's default for `--max-msg-size`.
const MAX_MESSAGE_SIZE: usize = 1024 * 1024;
/// Bodies here cost their memory, so there is an end to how many wait: as many as wait in the embedded broker.
const MAX_DEPTH: usize = 100_000;

/// A transport inside the process: no broker, no sockets.
///
/// For the modules of one program, and for tests of handlers. All that a session does works on it in the same way: topics and
/// channels, events, consumers, dead letters, patterns, services and calls. So a program moves from it to NSQ by one line:
///
/// ```
/// use almanet::{Session, transport::InProcessTransport};
///
/// # async fn example() -> Result<(), almanet::ConnectError> {
/// let session = Session::builder().transport(InProcessTransport::new()).connect().await?;
/// let session = Session::connect("127.0.0.1:4150").await?;
/// # Ok(())
/// # }
/// ```
///
/// Messages are in memory only and end with the process. One that a consumer holds stays there until it is answered or
/// dropped: there is no message timeout, as no consumer can die alone. A queue takes 100,000 messages, then publishers are
/// refused. Clones are the same transport, for several sessions on it; the first session that is left closes it for all.
#[derive(Clone, Default)]
pub struct InProcessTransport {
    pub(super) shared: Arc<Shared>,
}

#[derive(Default)]
pub(super) struct Shared {
    topics: Mutex<Topics>,
    ids: AtomicU64,
}

impl InProcessTransport {
    /// A transport without topics.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Shared {
    pub(super) fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for InProcessTransport {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let Publication {
            topic, bodies, delay, ..
        } = publication;
        if bodies.is_empty() || bodies.iter().any(|body| body.is_empty()) {
            return Err(PublishError::Empty { topic });
        }
        if let Some(size) = bodies
            .iter()
            .map(|body| body.len())
            .find(|size| *size > MAX_MESSAGE_SIZE)
        {
            let limit = MAX_MESSAGE_SIZE;
            return Err(PublishError::TooLarge { topic, size, limit });
        }
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let timestamp = i64::try_from(since_1970.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX);
        let due = delay
            .filter(|delay| *delay > Duration::ZERO)
            .map(|delay| Instant::now() + delay);
        let queued = bodies.into_iter().map(|body| Queued {
            id: MessageId::from_number(self.shared.ids.fetch_add(1, Ordering::Relaxed)),
            timestamp,
            attempts: 0,
            body,
            due,
        });
        let queued = queued.collect();
        let mut topics = self.shared.topics();
        if topics.closed {
            return Err(PublishError::Closed);
        }
        topics
            .publish(&topic, queued, MAX_DEPTH)
            .map_err(|_| PublishError::Refused {
                address: NODE.into(),
                topic,
                cause: ProtocolError::new(
                    ErrorCode::PubFailed,
                    format!("{MAX_DEPTH} messages wait on a channel of the topic"),
                ),
            })
    }

    async fn subscribe(
        &self,
        topic: &TopicName,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        let mut topics = self.shared.topics();
        if topics.closed {
            return Err(SubscribeError::Closed);
        }
        topics.subscribe(topic, channel);
        let source = InProcessSource::new(Arc::clone(&self.shared), topic, channel, options);
        Ok(Subscription::new(Box::new(source)))
    }

    async fn topics(&self) -> Result<BTreeSet<TopicName>, TopicsError> {
        Ok(self.shared.topics().names())
    }

    async fn has_subscribers(&self, topic: &TopicName) -> Result<bool, TopicsError> {
        Ok(self.shared.topics().is_read(topic))
    }

    async fn close(&self) {
        self.shared.topics().close();
    }
}

impl fmt::Debug for InProcessTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessTransport").finish_non_exhaustive()
    }
}
