//! The consumer as its users see it.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use almanet_nsq_proto::{ChannelName, TopicName};
use futures_util::future::join_all;
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{delivery::Delivery, endpoint::ConsumerEndpoint, ready::Ready};
use crate::{
    config::{ConsumerConfig, Window},
    connection::{Endpoint, Purpose, Stop, supervise},
    error::ConnectError,
};

/// Reads one channel of a topic, from one or several brokers.
///
/// A lost connection is made again, for ever, and each delivery is answered on the connection that it came on.
/// Dropping the consumer closes its connections at once: what was not handed out is requeued, and what was handed
/// out and not answered is delivered again after its message timeout. [`close`](Self::close) waits for the latter.
pub struct Consumer {
    topic: TopicName,
    channel: ChannelName,
    config: ConsumerConfig,
    deliveries: mpsc::Receiver<Delivery>,
    ready: Arc<Ready>,
    tasks: TaskTracker,
    stop: Stop,
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
        let capacity = config.max_in_flight.max(addresses.len());
        let (sender, deliveries) = mpsc::channel(capacity.clamp(1, Semaphore::MAX_PERMITS));
        let ready = Arc::new(Ready::new(config.max_in_flight));
        let endpoints = addresses.into_iter().map(|address| ConsumerEndpoint {
            address,
            config: config.connection.clone(),
            purpose: Purpose {
                subscription: Some((topic.clone(), channel.clone())),
                msg_timeout: config.msg_timeout,
                is_unbuffered: config.window == Window::Unbuffered,
            },
            window: config.window,
            ready: Arc::clone(&ready),
            deliveries: sender.clone(),
            link: None,
        });
        let attempts = endpoints.map(|endpoint| async {
            let attempt = endpoint.establish().await;
            (endpoint, attempt)
        });
        let attempts = join_all(attempts).await;
        if attempts.iter().all(|(_, attempt)| attempt.is_err()) {
            let errors = attempts.into_iter().filter_map(|(_, attempt)| attempt.err());
            return Err(none_usable(errors.collect()));
        }

        let consumer = Self {
            topic,
            channel,
            config,
            deliveries,
            ready,
            tasks: TaskTracker::new(),
            stop: Stop::default(),
        };
        for (endpoint, attempt) in attempts {
            let first = attempt
                .inspect_err(
                    |error| warn!(address = %endpoint.address, %error, "not connected, trying again"),
                )
                .ok();
            consumer
                .tasks
                .spawn(supervise(endpoint, first, consumer.stop.clone()));
        }
        consumer.tasks.close();
        Ok(consumer)
    }

    /// The topic that is read.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The channel that is read.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// Waits for the next message. `None` when none can come any more, because the runtime shuts down.
    ///
    /// # Cancel safety
    ///
    /// No message is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for those who write futures and streams by hand.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        loop {
            match ready!(self.deliveries.poll_recv(cx)) {
                // What came on a connection that is gone cannot be answered, and is delivered again anyway.
                Some(delivery) if delivery.is_lost() => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// The next message, if one is there.
    pub fn try_recv(&mut self) -> Option<Delivery> {
        loop {
            let delivery = self.deliveries.try_recv().ok()?;
            if !delivery.is_lost() {
                return Some(delivery);
            }
        }
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
    pub async fn close(mut self) {
        self.stop.reconnecting.cancel();
        let links = self.ready.stop();
        self.deliveries.close();
        while let Some(delivery) = self.deliveries.recv().await {
            drop(delivery);
        }

        let answered = join_all(links.iter().map(|link| link.all_answered()));
        if timeout(self.config.close_timeout, answered).await.is_err() {
            let unanswered: usize = links.iter().map(|link| link.unanswered()).sum();
            warn!(
                topic = %self.topic, channel = %self.channel, unanswered,
                "closing while messages are unanswered: they will be delivered again"
            );
        }
        let unsubscribed = join_all(links.iter().map(|link| link.unsubscribe()));
        let patience = self.config.connection.connect_timeout;
        if timeout(patience, unsubscribed).await.is_err() {
            debug!(topic = %self.topic, channel = %self.channel, "a broker did not confirm the end of the subscription");
        }
        self.stop.now.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.ready.stop();
        // Dropped deliveries are requeued, and connections that are told to stop write what is queued first.
        self.deliveries.close();
        while let Ok(delivery) = self.deliveries.try_recv() {
            drop(delivery);
        }
        self.stop.reconnecting.cancel();
        self.stop.now.cancel();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("topic", &self.topic)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// One error for all addresses: the only one there is, or the list of them.
fn none_usable(mut errors: Vec<ConnectError>) -> ConnectError {
    match errors.len() {
        0 => ConnectError::NoAddress,
        1 => errors.remove(0),
        _ => ConnectError::AllFailed(errors),
    }
}
