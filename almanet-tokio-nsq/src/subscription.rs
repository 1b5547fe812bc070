//! One subscription: a reader for each broker, and the queue that they fill.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use almanet::transport::{ChannelName, Delivery, Source, SubscribeOptions, TopicName};
use async_trait::async_trait;
use futures_util::future::select_ok;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_nsq::{NSQChannel, NSQConsumerConfig, NSQConsumerConfigSources, NSQTopic};
use tokio_util::task::TaskTracker;

use crate::{
    config::{REBALANCE_INTERVAL, TokioNsqTransportConfig},
    error::NotConnected,
    reader::{Reader, Stop},
};

pub(crate) struct TokioNsqSource {
    deliveries: mpsc::Receiver<Delivery>,
    close_timeout: Duration,
    stop: Stop,
    readers: TaskTracker,
}

impl TokioNsqSource {
    /// Subscribes on every node; returns once one of them has confirmed it.
    ///
    /// The first message comes up to 100 ms later, because tokio-nsq sends RDY from a timer.
    pub(crate) async fn subscribe(
        addresses: Vec<Arc<str>>,
        topic: Arc<NSQTopic>,
        channel: Arc<NSQChannel>,
        options: &SubscribeOptions,
        config: &TokioNsqTransportConfig,
    ) -> Result<Self, NotConnected> {
        let share = (options.max_in_flight / addresses.len().max(1)).clamp(1, usize::from(u16::MAX));
        let (sender, deliveries) = mpsc::channel(share * addresses.len().max(1));
        let source = Self {
            deliveries,
            close_timeout: options.close_timeout,
            stop: Stop::default(),
            readers: TaskTracker::new(),
        };
        let mut subscriptions = Vec::with_capacity(addresses.len());
        for address in &addresses {
            let (subscribed, is_subscribed) = oneshot::channel();
            subscriptions.push(is_subscribed);
            let consumer = NSQConsumerConfig::new(Arc::clone(&topic), Arc::clone(&channel))
                .set_sources(NSQConsumerConfigSources::Daemons(vec![address.to_string()]))
                .set_shared(config.shared())
                .set_max_in_flight(u32::try_from(share).unwrap_or(u32::from(u16::MAX)))
                .set_rebalance_interval(REBALANCE_INTERVAL);
            let reader = Reader::new(
                Arc::clone(address),
                consumer,
                config.flush_interval,
                config.broker_message_timeout,
                sender.clone(),
                subscribed,
            );
            source.readers.spawn(reader.run(source.stop.clone()));
        }
        source.readers.close();
        let not_connected = || NotConnected {
            addresses: addresses.iter().map(ToString::to_string).collect(),
            waited: config.connect_timeout,
        };
        if subscriptions.is_empty() {
            return Err(not_connected());
        }
        match timeout(config.connect_timeout, select_ok(subscriptions)).await {
            Ok(Ok(_)) => Ok(source),
            Ok(Err(_)) | Err(_) => Err(not_connected()),
        }
    }

    /// What was not handed out goes back.
    fn give_back(&mut self) {
        self.deliveries.close();
        while let Ok(delivery) = self.deliveries.try_recv() {
            drop(delivery);
        }
    }
}

#[async_trait]
impl Source for TokioNsqSource {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.deliveries.poll_recv(cx)
    }

    async fn close(mut self: Box<Self>) {
        self.stop.reading.cancel();
        self.give_back();
        if timeout(self.close_timeout, self.readers.wait()).await.is_err() {
            tracing::warn!("closing while messages are unanswered: they will be delivered again");
            self.stop.waiting.cancel();
            self.readers.wait().await;
        }
    }
}

impl Drop for TokioNsqSource {
    fn drop(&mut self) {
        self.give_back();
        self.stop.reading.cancel();
        self.stop.waiting.cancel();
    }
}

/// The name in tokio-nsq's type. Its rules are Almanet's, so a valid name is never refused.
pub(crate) fn nsq_topic(topic: &TopicName) -> Option<Arc<NSQTopic>> {
    NSQTopic::new(topic.as_str())
}

/// As [`nsq_topic`].
pub(crate) fn nsq_channel(channel: &ChannelName) -> Option<Arc<NSQChannel>> {
    NSQChannel::new(channel.as_str())
}
