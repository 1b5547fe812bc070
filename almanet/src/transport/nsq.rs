//! The transport over NSQ: a producer for each node, and a consumer for each subscription.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use almanet_nsq::{
    AnswerError, ChannelName, ConnectError, ConnectionConfig, Consumer, ConsumerConfig, Producer,
    ProducerConfig, PublishError, TopicName, Window,
};
use async_trait::async_trait;
use futures_util::future::join_all;

use super::api::{
    Acknowledge, Delivery, Publication, Source, SubscribeError, SubscribeOptions, Subscription, Transport,
    TransportConnectError,
};

/// The settings of an [`NsqTransport`].
#[derive(Debug, Clone, Default)]
pub struct NsqTransportConfig {
    connection: ConnectionConfig,
    producer: ProducerConfig,
    window: Window,
}

impl NsqTransportConfig {
    /// The settings of every connection.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionConfig) -> Self {
        self.producer = self.producer.connection(connection.clone());
        self.connection = connection;
        self
    }

    /// How many messages a node may send to a subscription before it has answers. Default: what makes good use of each
    /// write, and no more.
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
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
/// Publications go to the nodes in turn, past those that are not connected; subscriptions are made on every node.
pub struct NsqTransport {
    nodes: Vec<Producer>,
    next: AtomicUsize,
    connection: ConnectionConfig,
    window: Window,
    closed: AtomicBool,
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
        let NsqTransportConfig {
            connection,
            producer,
            window,
        } = config;
        let mut addresses: Vec<String> = addresses.into_iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        let attempts = join_all(
            addresses
                .iter()
                .map(|address| Producer::connect(address, producer.clone())),
        )
        .await;

        let mut nodes = Vec::with_capacity(attempts.len());
        let mut errors = Vec::new();
        for (address, attempt) in addresses.into_iter().zip(attempts) {
            match attempt {
                Ok(node) => nodes.push(node),
                Err(error) => errors.push((address, error)),
            }
        }
        if nodes.is_empty() {
            return Err(TransportConnectError::new(all_failed(errors)));
        }
        for (address, error) in errors {
            tracing::warn!(%error, "a node cannot be reached, it is tried again in the background");
            nodes.push(Producer::connect_lazily(address, producer.clone()));
        }
        let (next, closed) = (AtomicUsize::new(0), AtomicBool::new(false));
        Ok(Self {
            nodes,
            next,
            connection,
            window,
            closed,
        })
    }

    /// The nodes in the order in which a publication tries them: the one it asks for, then the others in turn; those
    /// that are connected before those that are not.
    fn candidates(&self, wanted: Option<&str>) -> impl Iterator<Item = &Producer> {
        let start = self.next.fetch_add(1, Ordering::Relaxed) % self.nodes.len().max(1);
        let (before, after) = self.nodes.split_at_checked(start).unwrap_or_default();
        let wanted = wanted.and_then(|wanted| self.nodes.iter().find(|node| node.address() == wanted));
        let in_turn = || wanted.into_iter().chain(after).chain(before);
        let connected = in_turn().filter(|node| node.is_connected());
        connected.chain(in_turn().filter(|node| !node.is_connected()).take(1))
    }

    /// Publishes through the first node that takes it, and returns that node.
    async fn submit(&self, publication: Publication) -> Result<Arc<str>, PublishError> {
        let Publication {
            topic,
            mut bodies,
            delay,
            node,
        } = publication;
        let mut outcome = Err(PublishError::Closed);
        for node in self.candidates(node.as_deref()) {
            let published = match (delay, bodies.as_slice()) {
                (Some(delay), [body]) => node.publish_after(&topic, delay, body.clone()).await,
                (_, [body]) => node.publish(&topic, body.clone()).await,
                _ => node.publish_many(&topic, std::mem::take(&mut bodies)).await,
            };
            outcome = published.map(|()| Arc::clone(node.node()));
            // What never left can go through another node; all else is the caller's to decide.
            if bodies.is_empty() || !matches!(outcome, Err(PublishError::NotSent { .. })) {
                break;
            }
        }
        outcome
    }
}

/// One error for all addresses; the error itself where there is one address.
fn all_failed(errors: Vec<(String, ConnectError)>) -> ConnectError {
    let mut errors: Vec<ConnectError> = errors.into_iter().map(|(_, error)| error).collect();
    match (errors.pop(), errors.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            errors.extend(last);
            ConnectError::AllFailed(errors)
        }
    }
}

#[async_trait]
impl Transport for NsqTransport {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.submit(publication).await.map(drop)
    }

    async fn publish_and_locate(&self, publication: Publication) -> Result<Option<Arc<str>>, PublishError> {
        self.submit(publication).await.map(Some)
    }

    async fn subscribe(
        &self,
        topic: &TopicName,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(SubscribeError::Closed);
        }
        let mut config = ConsumerConfig::default()
            .connection(self.connection.clone())
            .max_in_flight(options.max_in_flight)
            .window(self.window)
            .close_timeout(options.close_timeout);
        if let Some(timeout) = options.message_timeout {
            config = config.msg_timeout(timeout);
        }
        let addresses = self.nodes.iter().map(Producer::address);
        let consumer = Consumer::connect(addresses, topic.clone(), channel.clone(), config)
            .await
            .map_err(|error| SubscribeError::Failed {
                topic: topic.clone(),
                channel: channel.clone(),
                source: error.into(),
            })?;
        Ok(Subscription::new(Box::new(NsqSource(consumer))))
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        join_all(self.nodes.iter().map(Producer::close)).await;
    }
}

impl fmt::Debug for NsqTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.nodes.iter().map(Producer::address);
        f.write_str("NsqTransport")?;
        f.debug_list().entries(addresses).finish()
    }
}

struct NsqSource(Consumer);

#[async_trait]
impl Source for NsqSource {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.0.poll_recv(cx).map(|delivery| delivery.map(unwrap_delivery))
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Arc<str>> {
        self.0.poll_lost(cx)
    }

    async fn close(self: Box<Self>) {
        self.0.close().await;
    }
}

fn unwrap_delivery(delivery: almanet_nsq::Delivery) -> Delivery {
    Delivery::new(
        delivery.body().clone(),
        delivery.id(),
        delivery.timestamp(),
        delivery.attempts(),
        Arc::clone(delivery.node()),
        delivery.msg_timeout(),
        Box::new(delivery),
    )
}

impl Acknowledge for almanet_nsq::Delivery {
    fn finish(self: Box<Self>) -> Result<(), AnswerError> {
        (*self).finish()
    }

    fn requeue(self: Box<Self>, delay: Duration) -> Result<(), AnswerError> {
        (*self).requeue(delay)
    }

    fn touch(&self) -> Result<(), AnswerError> {
        self.touch()
    }
}
