//! A transport that refuses to publish dead letters, for as long as it is told.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use almanet::transport::{
    ChannelName, InProcessTransport, Publication, PublishError, SubscribeError, SubscribeOptions,
    Subscription, TopicName, TopicsError, Transport,
};
use async_trait::async_trait;
use tokio::{sync::watch, time::timeout};

use super::tally::PATIENCE;

/// What is published to a topic that ends in `ending` is refused.
#[derive(Clone, Debug)]
pub struct Refusing {
    inner: InProcessTransport,
    ending: &'static str,
    refuses: Arc<AtomicBool>,
    refused: Arc<watch::Sender<u32>>,
}

impl Refusing {
    pub fn new(ending: &'static str) -> Self {
        Self {
            inner: InProcessTransport::new(),
            ending,
            refuses: Arc::new(AtomicBool::new(true)),
            refused: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Refuses no more.
    pub fn relent(&self) {
        self.refuses.store(false, Ordering::SeqCst);
    }

    /// Refuses again.
    pub fn refuse(&self) {
        self.refuses.store(true, Ordering::SeqCst);
    }

    /// Waits until something was refused so often.
    pub async fn refused(&self, times: u32) {
        let mut refused = self.refused.subscribe();
        let refused = refused.wait_for(|refused| *refused >= times);
        timeout(PATIENCE, refused)
            .await
            .expect("it is refused in time")
            .expect("the sender is here");
    }
}

#[async_trait]
impl Transport for Refusing {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let is_meant = publication.topic.as_str().ends_with(self.ending);
        if is_meant && self.refuses.load(Ordering::SeqCst) {
            self.refused.send_modify(|refused| *refused += 1);
            return Err(PublishError::Closed);
        }
        self.inner.publish(publication).await
    }

    async fn subscribe(
        &self,
        topic: &TopicName,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        self.inner.subscribe(topic, channel, options).await
    }

    async fn topics(&self) -> Result<BTreeSet<TopicName>, TopicsError> {
        self.inner.topics().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
