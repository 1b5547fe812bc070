//! The consumer as its users see it.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use almanet_nsq_proto::{ChannelName, TopicName};
use tokio_util::task::TaskTracker;

use super::{config::ConsumerConfig, delivery::Delivery, follow::Follower, subscriptions::Subscriptions};
use crate::{error::ConnectError, lookup::Nodes};

/// Reads one channel of a topic, from one or several brokers.
///
/// A lost connection is made again, for ever, and each delivery is answered on the connection that it came on. While
/// messages fail it [backs off](ConsumerConfig::backoff), and it asks for no more than its user takes. A message that is larger
/// than [`max_message_size`](crate::ConnectionConfig::max_message_size) is logged and requeued, with a delay of 1 s that doubles with
/// each attempt up to 10 min, so that a consumer with a higher limit can have it.
/// Dropping the consumer closes its connections at once: what was not handed out is requeued, and what was handed
/// out and not answered is delivered again after its message timeout. [`close`](Self::close) waits for the latter.
pub struct Consumer {
    subscriptions: Subscriptions,
    /// What takes nodes up and lets go of them, where they are discovered.
    following: TaskTracker,
}

impl Consumer {
    /// Subscribes to `channel` of `topic` on the brokers at `addresses` (each `host:port`).
    ///
    /// Resolves once each of them has confirmed the subscription or could not be used. One that confirmed is
    /// enough; the others are tried again in the background, for ever.
    ///
    /// ```no_run
    /// use almanet_nsq::{ChannelName, Consumer, ConsumerConfig, TopicName};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let (topic, channel) = (TopicName::new("orders")?, ChannelName::new("kitchen")?);
    /// let nodes = ["10.0.0.1:4150", "10.0.0.2:4150"];
    /// let mut consumer = Consumer::connect(nodes, topic, channel, ConsumerConfig::default()).await?;
    /// while let Some(delivery) = consumer.recv().await {
    ///     println!("{} bytes from {}", delivery.body().len(), delivery.node());
    ///     delivery.finish()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when no broker can be used; for several addresses it names each with its cause.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up; no message is taken before it resolves.
    pub async fn connect(
        addresses: impl IntoIterator<Item = impl Into<String>>,
        topic: TopicName,
        channel: ChannelName,
        config: ConsumerConfig,
    ) -> Result<Self, ConnectError> {
        let addresses: Vec<Arc<str>> = addresses
            .into_iter()
            .map(|address| address.into().into())
            .collect();
        let (subscriptions, deliveries) = Subscriptions::new(topic, channel, config, addresses.len());
        let nodes = addresses
            .into_iter()
            .map(|address| (address, subscriptions.stop.clone()));
        let attempts = subscriptions.attempt(nodes, &deliveries).await;
        if attempts.iter().all(|attempt| attempt.outcome.is_err()) {
            let errors = attempts.into_iter().filter_map(|attempt| attempt.outcome.err());
            return Err(ConnectError::of_all(errors.collect()));
        }
        for attempt in attempts {
            subscriptions.keep(attempt);
        }
        Ok(Self::new(subscriptions))
    }

    /// Subscribes to `channel` of `topic` on the nodes that a [`Lookup`](crate::Lookup) finds, as they come and go.
    ///
    /// Resolves once each node that is known now has confirmed the subscription or could not be used. That there is
    /// none yet is no error: nodes that are found later are subscribed on then, and those that do not answer are
    /// tried again, for ever.
    ///
    /// A node that is no longer listed is let go: it sends no further messages, what was received from it and not
    /// handed out is requeued with no delay, and its connection is closed once what was handed out is answered, or
    /// after the configured `close_timeout`.
    ///
    /// [`Lookup::nodes_with`](crate::Lookup::nodes_with) the same topic reads where it is published,
    /// [`Lookup::every_node`](crate::Lookup::every_node) wherever it might be; that one can be shared by many
    /// consumers, as clones of [`Nodes`] share their polling.
    ///
    /// ```no_run
    /// use almanet_nsq::{ChannelName, Consumer, ConsumerConfig, Lookup, LookupConfig, TopicName};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let nodes = Lookup::new(["10.0.0.1:4161"], LookupConfig::default())?.every_node().await?;
    /// let (topic, channel) = (TopicName::new("orders")?, ChannelName::new("kitchen")?);
    /// let consumer = Consumer::discover(nodes, topic, channel, ConsumerConfig::default()).await;
    /// # consumer.close().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up; no message is taken before it resolves.
    pub async fn discover(
        mut nodes: Nodes,
        topic: TopicName,
        channel: ChannelName,
        config: ConsumerConfig,
    ) -> Self {
        let count = nodes.current().len();
        let (subscriptions, deliveries) = Subscriptions::new(topic, channel, config, count);
        let follower = Follower::begin(nodes, subscriptions.clone(), deliveries).await;
        let consumer = Self::new(subscriptions);
        consumer.following.spawn(follower.run());
        consumer
    }

    fn new(subscriptions: Subscriptions) -> Self {
        let ready = Arc::clone(&subscriptions.ready);
        subscriptions
            .tasks
            .spawn(ready.tend(subscriptions.stop.now.clone()));
        Self {
            subscriptions,
            following: TaskTracker::new(),
        }
    }

    /// The topic that is read.
    pub fn topic(&self) -> &TopicName {
        &self.subscriptions.topic
    }

    /// The channel that is read.
    pub fn channel(&self) -> &ChannelName {
        &self.subscriptions.channel
    }

    /// Waits for the next message.
    ///
    /// What has waited here for its whole message timeout is passed over, as its broker has taken it back. `None` when none can come any more, because the runtime shuts down.
    ///
    /// # Cancel safety
    ///
    /// No message is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for those who write futures and streams by hand.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.subscriptions.inbox.poll_recv(cx)
    }

    /// The next message, if one is there.
    pub fn try_recv(&mut self) -> Option<Delivery> {
        self.subscriptions.inbox.try_recv()
    }

    /// Waits until the connection to a node has ended that was there, and returns the node's address. It is made again
    /// by itself; this is for those who wait for a message that was to come by it.
    ///
    /// A node that is lost twice before it was told is told once.
    ///
    /// # Cancel safety
    ///
    /// No loss is missed when the future is dropped.
    pub async fn lost(&self) -> Arc<str> {
        poll_fn(|cx| self.poll_lost(cx)).await
    }

    /// As [`lost`](Self::lost), for those who write futures and streams by hand. Only the last task that asked is woken.
    pub fn poll_lost(&self, cx: &mut Context<'_>) -> Poll<Arc<str>> {
        self.subscriptions.lost.poll_next(cx)
    }

    /// Ends the subscriptions, leaving nothing behind that could be answered.
    ///
    /// The brokers send no further messages, and what was received and not handed out is requeued with no delay.
    /// Then this waits, for the configured `close_timeout` at most, until each delivery that was handed out is
    /// answered; whoever holds one can go on meanwhile. What is not answered by then is delivered again after its
    /// message timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connections at once, as dropping the consumer does.
    pub async fn close(self) {
        let subscriptions = self.subscriptions.clone();
        subscriptions.stop.reconnecting.cancel();
        let links = subscriptions.ready.stop();
        subscriptions.inbox.close();
        poll_fn(|cx| subscriptions.inbox.poll_discard(cx)).await;
        self.following.close();
        tokio::join!(subscriptions.end(&links), self.following.wait());
        subscriptions.stop.now.cancel();
        subscriptions.tasks.close();
        subscriptions.tasks.wait().await;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let Subscriptions {
            ready, inbox, stop, ..
        } = &self.subscriptions;
        ready.stop();
        // Dropped deliveries are requeued, and connections that are told to stop write what is queued first.
        inbox.close();
        inbox.discard();
        stop.reconnecting.cancel();
        stop.now.cancel();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("topic", &self.subscriptions.topic)
            .field("channel", &self.subscriptions.channel)
            .finish_non_exhaustive()
    }
}
