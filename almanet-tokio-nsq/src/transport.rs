//! The transport over tokio-nsq: a producer for each node, and a consumer for each node of each subscription.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use almanet::transport::{
    ChannelName, Publication, PublishError, SubscribeError, SubscribeOptions, Subscription, TopicName,
    Transport, TransportConnectError,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    config::TokioNsqTransportConfig,
    error::NotConnected,
    node::{Content, Node},
    subscription::{TokioNsqSource, nsq_channel, nsq_topic},
};

/// The transport over one or several nsqd, or embedded brokers, through tokio-nsq.
///
/// Publications go to the nodes in turn, past those that are not connected; subscriptions are made on every node.
pub struct TokioNsqTransport {
    nodes: Vec<Node>,
    next: AtomicUsize,
    config: TokioNsqTransportConfig,
    tasks: TaskTracker,
    /// Holds a token for each publication that is under way.
    publications: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl TokioNsqTransport {
    /// Connects to the nodes at `addresses`, each a `host:port`. The ones that cannot be reached, if others can, are
    /// tried again in the background.
    ///
    /// # Errors
    ///
    /// [`TransportConnectError`] when none answers in time; tokio-nsq does not tell why.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it closes what it had opened.
    pub async fn connect(
        addresses: impl IntoIterator<Item = String>,
        config: TokioNsqTransportConfig,
    ) -> Result<Self, TransportConnectError> {
        let mut addresses: Vec<String> = addresses.into_iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let nodes: Vec<Node> = addresses
            .iter()
            .map(|address| Node::start(address.clone(), &config, &tasks, stop.clone()))
            .collect();
        tasks.close();
        let transport = Self {
            nodes,
            next: AtomicUsize::new(0),
            tasks,
            publications: TaskTracker::new(),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
            config,
        };
        let attempts = transport
            .nodes
            .iter()
            .map(|node| node.connected_within(transport.config.connect_timeout));
        if join_all(attempts).await.contains(&true) {
            return Ok(transport);
        }
        Err(TransportConnectError::new(NotConnected {
            addresses,
            waited: transport.config.connect_timeout,
        }))
    }

    /// The node that a publication asks for, else the next in turn that is connected, else just the next.
    fn node(&self, wanted: Option<&str>) -> Option<&Node> {
        let start = self.next.fetch_add(1, Ordering::Relaxed) % self.nodes.len().max(1);
        let (before, after) = self.nodes.split_at_checked(start)?;
        let wanted = wanted.and_then(|wanted| self.nodes.iter().find(|node| *node.address == *wanted));
        let mut in_turn = wanted.into_iter().chain(after).chain(before);
        let connected = in_turn.clone().find(|node| node.is_connected());
        connected.or_else(|| in_turn.next())
    }

    /// Refuses what a broker would refuse: it would close the connection, and tokio-nsq does not tell for which publish.
    fn check(&self, topic: &TopicName, bodies: &[Bytes]) -> Result<(), PublishError> {
        if bodies.is_empty() || bodies.iter().any(Bytes::is_empty) {
            return Err(PublishError::Empty { topic: topic.clone() });
        }
        let largest = self.config.max_message_size;
        let sizes = bodies.iter().map(|body| (body.len(), largest));
        let total = 4 + bodies.iter().map(|body| 4 + body.len()).sum::<usize>();
        let several = (bodies.len() > 1).then_some((total, largest.saturating_mul(5)));
        match sizes.chain(several).find(|(size, limit)| size > limit) {
            Some((size, limit)) => Err(PublishError::TooLarge {
                topic: topic.clone(),
                size,
                limit,
            }),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Transport for TokioNsqTransport {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let _under_way = self.publications.token();
        if self.publications.is_closed() {
            return Err(PublishError::Closed);
        }
        let Publication {
            topic,
            bodies,
            delay,
            node,
            ..
        } = publication;
        self.check(&topic, &bodies)?;
        let mut bodies: Vec<Vec<u8>> = bodies.into_iter().map(Vec::from).collect();
        let content = match (bodies.len(), delay) {
            (1, Some(delay)) => {
                let millis = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
                Content::Delayed(bodies.remove(0), millis)
            }
            (1, None) => Content::One(bodies.remove(0)),
            _ => Content::Many(bodies),
        };
        let node = self.node(node.as_deref()).ok_or(PublishError::Closed)?;
        let nsq_topic = nsq_topic(&topic).ok_or(PublishError::Closed)?;
        node.publish(&topic, nsq_topic, content).await
    }

    async fn subscribe(
        &self,
        topic: &TopicName,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        if self.stop.is_cancelled() {
            return Err(SubscribeError::Closed);
        }
        let addresses = self.nodes.iter().map(|node| Arc::clone(&node.address)).collect();
        let (Some(nsq_topic), Some(nsq_channel)) = (nsq_topic(topic), nsq_channel(channel)) else {
            return Err(SubscribeError::Closed);
        };
        TokioNsqSource::subscribe(addresses, nsq_topic, nsq_channel, &options, &self.config)
            .await
            .map(|source| Subscription::new(Box::new(source)))
            .map_err(|error| SubscribeError::Failed {
                topic: topic.clone(),
                channel: channel.clone(),
                source: error.into(),
            })
    }

    async fn close(&self) {
        self.publications.close();
        self.publications.wait().await;
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl fmt::Debug for TokioNsqTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokioNsqTransport").field(&self.nodes).finish()
    }
}
