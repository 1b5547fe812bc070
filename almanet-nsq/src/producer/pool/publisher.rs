//! The pool as its users see it.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use almanet_nsq_proto::TopicName;
use bytes::Bytes;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    config::{Duplicates, ProducerPoolConfig},
    follow::follow,
    members::{Members, PoolNode},
    publishing::Publishing,
};
use crate::{
    config::ConnectionConfig,
    error::{ConnectError, PublishError},
    lookup::Nodes,
    producer::{content::Content, deadline::Term},
};

/// Publishes to several brokers, each publish to one of them. Cheap to clone; clones share the connections.
///
/// Publishes go to the nodes in turn, past those that are not connected, and past those that failed lately: a node
/// that lost its connection, did not confirm in time, or could not take a message in (`E_PUB_FAILED`) is avoided for
/// a while that grows, and then probed with one publish. What was not sent to a node for one of these reasons goes to
/// another. What was sent and not confirmed does too where [`Duplicates::Allowed`] says so, and else ends as
/// [`PublishError::Unconfirmed`].
///
/// While no node is connected, publishes wait for the first that is, each as long as the configured
/// `publish_timeout` allows. When the last clone is dropped, the connections are closed.
///
/// ```no_run
/// use almanet_nsq::{Duplicates, ProducerPool, ProducerPoolConfig, TopicName};
/// use bytes::Bytes;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let nodes = ["10.0.0.1:4150", "10.0.0.2:4150"];
/// let pool = ProducerPool::connect(nodes, ProducerPoolConfig::default()).await?;
/// let topic = TopicName::new("orders")?;
/// pool.publish(&topic, Bytes::from_static(b"tea")).await?;
/// // Whoever reads it does no harm by reading it twice, so it may be sent again.
/// let stubborn = pool.duplicates(Duplicates::Allowed);
/// stubborn.publish(&topic, Bytes::from_static(b"order 7 is paid")).await?;
/// pool.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ProducerPool {
    pub(super) shared: Arc<Shared>,
    duplicates: Duplicates,
    pub(super) preferred: Option<Arc<str>>,
}

pub(super) struct Shared {
    pub(super) config: ProducerPoolConfig,
    pub(super) members: Arc<Members>,
    /// Publishes that are under way.
    pub(super) publishes: TaskTracker,
    pub(super) is_closing: AtomicBool,
    /// What takes nodes up and lets go of them, where they are discovered.
    following: TaskTracker,
    stop: CancellationToken,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl ProducerPool {
    /// Connects to the brokers at `addresses` (each `host:port`).
    ///
    /// One that can be reached is enough; the others are tried again in the background, for ever.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when none can be used; for several addresses it names each with its cause.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up.
    pub async fn connect(
        addresses: impl IntoIterator<Item = impl Into<String>>,
        config: ProducerPoolConfig,
    ) -> Result<Self, ConnectError> {
        let addresses: BTreeSet<Arc<str>> = addresses
            .into_iter()
            .map(|address| address.into().into())
            .collect();
        let members = Members::new(config.clone());
        members.begin(addresses).await.map_err(ConnectError::of_all)?;
        Ok(Self::new(config, members))
    }

    /// Connects to the nodes that a [`Lookup`](crate::Lookup) finds, as they come and go.
    ///
    /// Resolves once each node that is known now is connected or could not be. That there is none yet is no error:
    /// publishes wait for the first. A node that is no longer listed gets no further publishes, and its connection is
    /// closed once those that are under way have ended.
    ///
    /// Give it [`Lookup::every_node`](crate::Lookup::every_node): where a topic is published for the first time, no
    /// node has it yet.
    ///
    /// ```no_run
    /// use almanet_nsq::{Lookup, LookupConfig, ProducerPool, ProducerPoolConfig};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let nodes = Lookup::new(["10.0.0.1:4161"], LookupConfig::default())?.every_node().await?;
    /// let pool = ProducerPool::discover(nodes, ProducerPoolConfig::default()).await?;
    /// # pool.close().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when nodes are known and none of them can be used: then it is rather their addresses that are
    /// wrong (nsqd's `--broadcast-address`).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up.
    pub async fn discover(mut nodes: Nodes, config: ProducerPoolConfig) -> Result<Self, ConnectError> {
        let members = Members::new(config.clone());
        let current = nodes.current();
        if !current.is_empty() {
            let begun = members.begin(current.iter().cloned()).await;
            begun.map_err(ConnectError::of_all)?;
        }
        let pool = Self::new(config, members);
        let shared = &pool.shared;
        let following = follow(nodes, Arc::clone(&shared.members), shared.stop.clone());
        shared.following.spawn(following);
        Ok(pool)
    }

    fn new(config: ProducerPoolConfig, members: Members) -> Self {
        Self {
            duplicates: config.duplicates,
            preferred: None,
            shared: Arc::new(Shared {
                config,
                members: Arc::new(members),
                publishes: TaskTracker::new(),
                is_closing: AtomicBool::new(false),
                following: TaskTracker::new(),
                stop: CancellationToken::new(),
            }),
        }
    }

    /// The same pool, for publishes that may or may not be sent twice.
    #[must_use]
    pub fn duplicates(&self, duplicates: Duplicates) -> Self {
        Self {
            duplicates,
            ..self.clone()
        }
    }

    /// The same pool, for publishes that shall go to `node`, as long as it is there and connected; else to another.
    #[must_use]
    pub fn through(&self, node: impl Into<Arc<str>>) -> Self {
        Self {
            preferred: Some(node.into()),
            ..self.clone()
        }
    }

    /// The nodes as they are at this moment.
    pub fn nodes(&self) -> Vec<PoolNode> {
        self.shared.members.shown()
    }

    /// Publishes one message; resolves when a broker has taken it in.
    ///
    /// # Errors
    ///
    /// [`PublishError`], which tells [whether the message may have been published](PublishError::may_have_happened).
    ///
    /// # Cancel safety
    ///
    /// A publish whose future is dropped before it was written is never sent. Later than that it cannot be undone.
    pub async fn publish(&self, topic: &TopicName, body: Bytes) -> Result<(), PublishError> {
        self.publish_and_locate(topic, body).await.map(drop)
    }

    /// As [`publish`](Self::publish); returns the address of the node whose broker took the message in, as it was given
    /// or found.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As [`publish`](Self::publish).
    pub async fn publish_and_locate(&self, topic: &TopicName, body: Bytes) -> Result<Arc<str>, PublishError> {
        let content = Content::one(topic, body, self.limits())?;
        self.submit(topic, &content).await
    }

    /// Publishes several messages to one node, all or none; resolves when its broker has taken them in.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; among others when all messages together are larger than `max_body_size`.
    ///
    /// # Cancel safety
    ///
    /// As [`publish`](Self::publish).
    pub async fn publish_many(&self, topic: &TopicName, bodies: Vec<Bytes>) -> Result<(), PublishError> {
        let content = Content::many(topic, bodies, self.limits())?;
        self.submit(topic, &content).await.map(drop)
    }

    /// Publishes one message that is delivered after `delay`, counted in whole milliseconds; resolves when a broker
    /// has taken it in.
    ///
    /// nsqd refuses delays beyond its `--max-req-timeout`, 1 h by default.
    ///
    /// # Errors
    ///
    /// [`PublishError`], which tells [whether the message may have been published](PublishError::may_have_happened).
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
        let content = Content::deferred(topic, delay, body, self.limits())?;
        self.submit(topic, &content).await.map(drop)
    }

    /// Takes no further publishes, waits until each that is under way is confirmed or has failed, and closes the
    /// connections. For all clones.
    ///
    /// It takes `publish_timeout` at most, since each publish does.
    ///
    /// # Cancel safety
    ///
    /// Publishes are refused from the first poll on; dropping the future leaves the connections open.
    pub async fn close(&self) {
        let shared = &self.shared;
        shared.is_closing.store(true, Ordering::SeqCst);
        shared.publishes.close();
        shared.publishes.wait().await;
        shared.stop.cancel();
        shared.following.close();
        shared.following.wait().await;
        shared.members.close().await;
    }

    pub(super) fn limits(&self) -> &ConnectionConfig {
        &self.shared.config.producer.connection
    }

    async fn submit(&self, topic: &TopicName, content: &Content) -> Result<Arc<str>, PublishError> {
        let shared = &*self.shared;
        // Closing waits for whoever has this, so it is taken before the question whether that has begun.
        let _under_way = shared.publishes.token();
        if shared.is_closing.load(Ordering::SeqCst) {
            return Err(PublishError::Closed);
        }
        let term = Term::whole(shared.config.producer.publish_timeout);
        self.publishing(topic, term).run(content).await
    }

    pub(super) fn publishing<'a>(&'a self, topic: &'a TopicName, term: Term) -> Publishing<'a> {
        let shared = &*self.shared;
        Publishing {
            members: &shared.members,
            topic,
            preferred: self.preferred.as_deref(),
            duplicates: self.duplicates,
            confirm_timeout: shared.config.confirm_timeout,
            term,
            failed: Vec::new(),
        }
    }
}

impl fmt::Debug for ProducerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerPool")
            .field("nodes", &self.nodes())
            .field("duplicates", &self.duplicates)
            .field("preferred", &self.preferred)
            .finish_non_exhaustive()
    }
}
