//! The transport over NSQ: a pool of producers, and a consumer for each subscription.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use almanet_nsq::{
    ChannelName, ConnectionConfig, Consumer, ConsumerConfig, Duplicates, FailedPost, Lookup, LookupConfig,
    Nodes, PostFailed, Posted, ProducerConfig, ProducerPool, ProducerPoolConfig, PublishError, TopicList,
    TopicName, Window,
};
use async_trait::async_trait;

use super::{
    api::{Publication, Source, SubscribeOptions, Subscription, Transport},
    delivery::Delivery,
    error::{SubscribeError, TopicsError, TransportConnectError},
};

/// The settings of an [`NsqTransport`].
#[derive(Debug, Clone, Default)]
pub struct NsqTransportConfig {
    connection: ConnectionConfig,
    producer: ProducerConfig,
    lookup: LookupConfig,
    window: Window,
    http_addresses: Vec<String>,
}

impl NsqTransportConfig {
    /// The settings of every connection, among them who is told of what happens to it.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionConfig) -> Self {
        self.producer = self.producer.connection(connection.clone());
        self.connection = connection;
        self
    }

    /// How nsqlookupd is asked, where nodes are discovered. Its `fixed_nodes` are replaced by the addresses that the
    /// transport is given. Every program of a fleet should have the same `poll_interval`.
    #[must_use]
    pub fn lookup(mut self, lookup: LookupConfig) -> Self {
        self.lookup = lookup;
        self
    }

    /// How many messages a node may send to a subscription before it has answers. Default: what makes good use of each
    /// write, and no more.
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// The HTTP addresses of nodes, each a `host:port` (nsqd's port 4151 by default), which are asked what topics there are,
    /// and whether anybody reads one, where no nsqlookupd is. Only consumers of patterns need them, and calls that
    /// [need somebody to answer](crate::Call::responders_within).
    #[must_use]
    pub fn http_addresses(mut self, addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.http_addresses = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// How long a publication waits for its confirmation. Default: 15 seconds.
    #[must_use]
    pub fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.producer = self.producer.publish_timeout(timeout);
        self
    }
}

/// The transport over one or several nsqd, or embedded brokers.
///
/// Publications go to the nodes in turn, past those that are not connected or failed lately ([`ProducerPool`]);
/// subscriptions are made on every node.
pub struct NsqTransport {
    /// For what must not be published twice.
    pool: ProducerPool,
    /// The same pool, for what may be.
    insistent: ProducerPool,
    connection: ConnectionConfig,
    window: Window,
    nodes: Mutex<SubscribedNodes>,
    /// Who knows the topics; `None` when nobody was named.
    topics: Option<TopicList>,
}

/// Where subscriptions are made.
#[derive(Debug, Clone)]
enum SubscribedNodes {
    /// On the nodes at these addresses.
    At(Arc<[String]>),
    /// On those that nsqlookupd lists, as they come and go. One polling serves all.
    Discovered(Nodes),
    /// Nowhere any more.
    Closed,
}

impl NsqTransport {
    /// Connects to the nodes at `addresses`, each a `host:port`. The ones that cannot be reached, if others can, are
    /// tried again in the background.
    ///
    /// # Errors
    ///
    /// [`TransportConnectError`] names each address and what happened there, when none can be reached.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it closes what it had opened.
    pub async fn connect(
        addresses: impl IntoIterator<Item = String>,
        config: NsqTransportConfig,
    ) -> Result<Self, TransportConnectError> {
        let mut addresses: Vec<String> = addresses.into_iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        let producers = ProducerPoolConfig::default().producer(config.producer);
        let pool = ProducerPool::connect(addresses.iter().cloned(), producers)
            .await
            .map_err(TransportConnectError::new)?;
        let topics = match config.http_addresses.is_empty() {
            true => None,
            false => Some(
                TopicList::of_nodes(config.http_addresses, config.lookup)
                    .map_err(TransportConnectError::new)?,
            ),
        };
        let nodes = SubscribedNodes::At(addresses.into());
        Ok(Self {
            topics,
            ..Self::new(pool, nodes, config.connection, config.window)
        })
    }

    /// Connects to the nodes that the nsqlookupds at `lookupds` list (each the `host:port` of its HTTP interface), and
    /// to those at `addresses`, which may be none.
    ///
    /// Nodes that appear get all subscriptions, whatever topics they have: a topic can be published to anywhere, at
    /// any time. Publications go to them only when every program of the fleet has had the time to find them too.
    /// Nodes that vanish are let go. That there is no node yet is no error.
    ///
    /// # Errors
    ///
    /// [`TransportConnectError`] when no nsqlookupd answers and no address was given, or when nodes are known and none
    /// can be reached.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it closes what it had opened.
    pub async fn discover(
        lookupds: impl IntoIterator<Item = String>,
        addresses: impl IntoIterator<Item = String>,
        config: NsqTransportConfig,
    ) -> Result<Self, TransportConnectError> {
        let settling_time = config.lookup.longest_until_found();
        let lookup = Lookup::new(lookupds, config.lookup.fixed_nodes(addresses))
            .map_err(TransportConnectError::new)?;
        let topics = Some(lookup.topics());
        let nodes = lookup.every_node().await.map_err(TransportConnectError::new)?;
        let producers = ProducerPoolConfig::default()
            .producer(config.producer)
            .settling_time(settling_time);
        let pool = ProducerPool::discover(nodes.clone(), producers)
            .await
            .map_err(TransportConnectError::new)?;
        let nodes = SubscribedNodes::Discovered(nodes);
        Ok(Self {
            topics,
            ..Self::new(pool, nodes, config.connection, config.window)
        })
    }

    fn new(pool: ProducerPool, nodes: SubscribedNodes, connection: ConnectionConfig, window: Window) -> Self {
        Self {
            insistent: pool.duplicates(Duplicates::Allowed),
            pool: pool.duplicates(Duplicates::Never),
            connection,
            window,
            nodes: Mutex::new(nodes),
            topics: None,
        }
    }

    fn nodes(&self) -> MutexGuard<'_, SubscribedNodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for NsqTransport {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.publish_and_locate(publication).await.map(drop)
    }

    async fn publish_and_locate(&self, publication: Publication) -> Result<Option<Arc<str>>, PublishError> {
        let Publication {
            topic,
            mut bodies,
            delay,
            node,
            duplicates,
        } = publication;
        let pool = match duplicates {
            Duplicates::Allowed => &self.insistent,
            _ => &self.pool,
        };
        let through = node.map(|node| Box::new(pool.through(node)));
        let pool = through.as_deref().unwrap_or(pool);
        match (bodies.pop(), bodies.is_empty(), delay) {
            (Some(body), true, None) => pool.publish_and_locate(&topic, body).await.map(Some),
            // The rarer ways are boxed, or the future of every publication would have room for each.
            (Some(body), true, Some(delay)) => {
                let publishing = Box::pin(pool.publish_after(&topic, delay, body));
                publishing.await.map(|()| None)
            }
            (last, _, _) => {
                bodies.extend(last);
                let publishing = Box::pin(pool.publish_many(&topic, bodies.into_vec()));
                publishing.await.map(|()| None)
            }
        }
    }

    fn post(
        &self,
        mut publication: Publication,
        told: &Arc<dyn PostFailed>,
        key: [u8; 16],
    ) -> Result<Posted, Publication> {
        let is_plain = publication.bodies.len() == 1
            && publication.delay.is_none()
            && publication.node.is_none()
            && publication.duplicates == Duplicates::Never;
        if is_plain && let Some(body) = publication.bodies.pop() {
            let posted = self.pool.post(&publication.topic, body, told, key);
            return posted.map_err(|body| {
                publication.bodies.push(body);
                publication
            });
        }
        Err(publication)
    }

    async fn settle(
        &self,
        posted: Posted,
        failed: Option<FailedPost>,
    ) -> Result<Option<Arc<str>>, PublishError> {
        self.pool.settle(posted, failed).await.map(Some)
    }

    async fn subscribe(
        &self,
        topic: &TopicName,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        let mut config = ConsumerConfig::default()
            .connection(self.connection.clone())
            .max_in_flight(options.max_in_flight)
            .window(self.window)
            // What fails here fails for a reason of its own, and is retried with a delay of its own.
            .backoff(None)
            .close_timeout(options.close_timeout);
        if let Some(timeout) = options.message_timeout {
            config = config.msg_timeout(timeout);
        }
        if let Some(expected) = options.expected {
            config = config.expected(expected);
        }
        let nodes = self.nodes().clone();
        let (topic, channel) = (topic.clone(), channel.clone());
        let consumer = match nodes {
            SubscribedNodes::At(addresses) => {
                let connecting =
                    Consumer::connect(addresses.iter().cloned(), topic.clone(), channel.clone(), config);
                connecting.await.map_err(|error| SubscribeError::Failed {
                    topic,
                    channel,
                    source: error.into(),
                })?
            }
            SubscribedNodes::Discovered(nodes) => Consumer::discover(nodes, topic, channel, config).await,
            SubscribedNodes::Closed => return Err(SubscribeError::Closed),
        };
        Ok(Subscription::new(Box::new(NsqSource(consumer))))
    }

    async fn topics(&self) -> Result<BTreeSet<TopicName>, TopicsError> {
        let Some(topics) = &self.topics else {
            return Err(TopicsError::Unknowable);
        };
        topics
            .ask()
            .await
            .map_err(|error| TopicsError::Failed(error.into()))
    }

    async fn has_subscribers(&self, topic: &TopicName) -> Result<bool, TopicsError> {
        let Some(topics) = &self.topics else {
            return Err(TopicsError::Unknowable);
        };
        let nodes = self.pool.nodes();
        let known = nodes.iter().map(|node| Arc::from(&*node.address)).collect();
        topics
            .has_subscribers(topic, &known)
            .await
            .map_err(|error| TopicsError::Failed(error.into()))
    }

    async fn close(&self) {
        // With the last of those who follow them, the polling ends too.
        *self.nodes() = SubscribedNodes::Closed;
        self.pool.close().await;
    }
}

impl fmt::Debug for NsqTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.pool.nodes();
        f.write_str("NsqTransport")?;
        f.debug_list()
            .entries(nodes.iter().map(|node| &node.address))
            .finish()
    }
}

struct NsqSource(Consumer);

#[async_trait]
impl Source for NsqSource {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.0.poll_recv(cx).map(|delivery| delivery.map(Delivery::from))
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Arc<str>> {
        self.0.poll_lost(cx)
    }

    async fn close(self: Box<Self>) {
        self.0.close().await;
    }
}
