//! What a session asks of a transport.

use std::{
    collections::BTreeSet,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use almanet_nsq::{
    ChannelName, Duplicates, Expected, FailedPost, PostFailed, Posted, PublishError, TopicName,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use smallvec::{SmallVec, smallvec};

use super::{
    delivery::Delivery,
    error::{SubscribeError, TopicsError},
};

/// A way to publish messages and to subscribe to topics.
///
/// A session knows no other way to the wire. [`NsqTransport`](crate::transport::NsqTransport) is the one that users
/// meet; others can be given to [`SessionBuilder::transport`](crate::SessionBuilder::transport).
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Publishes the messages of `publication`; returns once a broker has confirmed them.
    ///
    /// # Errors
    ///
    /// [`PublishError`] says whether the messages may have been published all the same.
    ///
    /// # Cancel safety
    ///
    /// A publication that is dropped may or may not have left.
    async fn publish(&self, publication: Publication) -> Result<(), PublishError>;

    /// Publishes as [`publish`](Self::publish) does, and says which node took the messages in, as [`Delivery::node`]
    /// names it; `None` when the transport cannot tell, which is what this does unless a transport does better.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As [`publish`](Self::publish).
    async fn publish_and_locate(&self, publication: Publication) -> Result<Option<Arc<str>>, PublishError> {
        self.publish(publication).await.map(|()| None)
    }

    /// Queues the message of `publication` at once, if that can be done, and does not wait for its confirmation: calls are made
    /// so, which hear of it by their answers. When it fails, `told` is called with `key`.
    ///
    /// # Errors
    ///
    /// The publication, with nothing done, when it would have to wait, or when the transport does not do this, which is what
    /// this answers unless a transport does better: [`publish_and_locate`](Self::publish_and_locate) it.
    fn post(
        &self,
        publication: Publication,
        _told: &Arc<dyn PostFailed>,
        _key: [u8; 16],
    ) -> Result<Posted, Publication> {
        Err(publication)
    }

    /// Finds out what has become of what was [posted](Self::post), publishes it elsewhere where that may be, and says which node
    /// took it. `failed` is what its publisher was told, if it was.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish); [`PublishError::Closed`] when this transport does not post.
    ///
    /// # Cancel safety
    ///
    /// As [`publish`](Self::publish).
    async fn settle(
        &self,
        _posted: Posted,
        _failed: Option<FailedPost>,
    ) -> Result<Option<Arc<str>>, PublishError> {
        Err(PublishError::Closed)
    }

    /// Subscribes to `topic` as a member of `channel`; returns once the brokers have confirmed it.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] when no broker took the subscription.
    ///
    /// # Cancel safety
    ///
    /// A subscription that is dropped before it is there is given up.
    async fn subscribe(
        &self,
        topic: &TopicName,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError>;

    /// The topics that there are, on any node.
    ///
    /// # Errors
    ///
    /// [`TopicsError`] when nobody can be asked, which is what transports answer that do not implement this, or nobody
    /// answers.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future ends the asking.
    async fn topics(&self) -> Result<BTreeSet<TopicName>, TopicsError> {
        Err(TopicsError::Unknowable)
    }

    /// Whether anybody is subscribed to `topic`, on any node and as a member of any channel.
    ///
    /// # Errors
    ///
    /// [`TopicsError`] when nobody can be asked, which is what transports answer that do not implement this, or when not
    /// all nodes answer.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future ends the asking.
    async fn has_subscribers(&self, _topic: &TopicName) -> Result<bool, TopicsError> {
        Err(TopicsError::Unknowable)
    }

    /// Waits for publications that are under way, then closes the transport's connections.
    async fn close(&self);
}

/// The bodies of messages that are published together. Nearly always it is one, which takes no memory of its own.
pub type Bodies = SmallVec<[Bytes; 1]>;

/// Messages to publish to one topic.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Publication {
    /// Where to publish.
    pub topic: TopicName,
    /// The messages. Several are published all or none.
    pub bodies: Bodies,
    /// How long the broker shall hold the messages back. Only for a single message.
    pub delay: Option<Duration>,
    /// The node that shall take them, as [`Delivery::node`] names it. Another one takes them when that is unknown.
    pub node: Option<Arc<str>>,
    /// Whether they may be sent again, also through another node, when no confirmation comes.
    pub duplicates: Duplicates,
}

impl Publication {
    /// One message, at once, through any node, sent once.
    pub fn new(topic: TopicName, body: Bytes) -> Self {
        Self {
            topic,
            bodies: smallvec![body],
            delay: None,
            node: None,
            duplicates: Duplicates::Never,
        }
    }

    /// Several messages, at once, through any node, sent once, all or none.
    pub fn several(topic: TopicName, bodies: Vec<Bytes>) -> Self {
        Self {
            topic,
            bodies: bodies.into(),
            delay: None,
            node: None,
            duplicates: Duplicates::Never,
        }
    }

    /// Asks the broker to hold a single message back for this long.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Asks for this node.
    #[must_use]
    pub fn through(mut self, node: Arc<str>) -> Self {
        self.node = Some(node);
        self
    }

    /// Allows that the messages are published twice: whoever receives them has to expect that anyway, or takes no
    /// notice of the second.
    #[must_use]
    pub fn allow_duplicates(mut self) -> Self {
        self.duplicates = Duplicates::Allowed;
        self
    }
}

/// How to subscribe.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// The most messages that are out at once, unanswered.
    pub max_in_flight: usize,
    /// How long an unanswered message waits before it is delivered again; `None` for the broker's default.
    pub message_timeout: Option<Duration>,
    /// How long closing waits for messages that are still out.
    pub close_timeout: Duration,
    /// How many messages are still to come, where the subscriber knows. It is a hint, of which a transport may take no notice: one
    /// that gathers messages need not gather for longer.
    pub expected: Option<Expected>,
}

impl Default for SubscribeOptions {
    /// 256 messages in flight, the broker's message timeout, 30 seconds to close, nothing known of what is to come.
    fn default() -> Self {
        Self {
            max_in_flight: 256,
            message_timeout: None,
            close_timeout: Duration::from_secs(30),
            expected: None,
        }
    }
}

/// The stream of messages of one subscription.
pub struct Subscription {
    source: Box<dyn Source>,
}

/// What a [`Subscription`] brings.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are messages, each of which would need a box"
)]
#[derive(Debug)]
#[non_exhaustive]
pub enum Arrival {
    /// A message.
    Message(Delivery),
    /// The connection to this node was lost. It is made again, but what was on its way may never come.
    NodeLost(Arc<str>),
}

/// Where the messages of a [`Subscription`] come from.
#[async_trait]
pub trait Source: Send {
    /// The next message; `None` once the subscription is closed.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>>;

    /// The next node whose connection was lost, after which a message that was on its way through it may never come;
    /// the connection itself is made again. A source that cannot tell never does, which is the default.
    fn poll_lost(&mut self, _cx: &mut Context<'_>) -> Poll<Arc<str>> {
        Poll::Pending
    }

    /// Ends the subscription: no new messages, those not handed out are requeued at once, those handed out are waited
    /// for ([`SubscribeOptions::close_timeout`]).
    async fn close(self: Box<Self>);
}

impl Subscription {
    /// The subscription that reads from `source`.
    pub fn new(source: Box<dyn Source>) -> Self {
        Self { source }
    }

    /// The next message; `None` once the subscription is closed.
    ///
    /// # Cancel safety
    ///
    /// No message is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| self.source.poll_recv(cx)).await
    }

    /// The next message or loss of a node, messages first; `None` once the subscription is closed.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn arrival(&mut self) -> Option<Arrival> {
        std::future::poll_fn(|cx| match self.source.poll_recv(cx) {
            Poll::Ready(delivery) => Poll::Ready(delivery.map(Arrival::Message)),
            Poll::Pending => self
                .source
                .poll_lost(cx)
                .map(|node| Some(Arrival::NodeLost(node))),
        })
        .await
    }

    /// The next message, if there is one; otherwise the task of `cx` is woken when there is.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.source.poll_recv(cx)
    }

    /// The next node whose connection was lost, as [`Source::poll_lost`] has it.
    #[cfg(feature = "testing")]
    pub(crate) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Arc<str>> {
        self.source.poll_lost(cx)
    }

    /// Ends the subscription: no new messages, those not handed out are requeued at once, those handed out are waited
    /// for ([`SubscribeOptions::close_timeout`]).
    pub async fn close(self) {
        self.source.close().await;
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let delivery = ready!(self.source.poll_recv(cx));
        Poll::Ready(delivery)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
