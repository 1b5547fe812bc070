//! A transport on which things go wrong.

use std::{
    collections::BTreeSet,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::sleep;

use super::fault::{Faults, Kind};
use crate::{
    transport::{
        Acknowledge, AnswerError, ChannelName, Delivery, Publication, PublishError, Source, SubscribeError,
        SubscribeOptions, Subscription, TopicName, TopicsError, Transport,
    },
    wire::{Control, StreamItems},
};

/// Another transport, with [`Faults`].
#[derive(Debug)]
pub(super) struct Faulty<T> {
    inner: T,
    faults: Faults,
}

impl<T> Faulty<T> {
    pub(super) fn new(inner: T, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
impl<T: Transport> Transport for Faulty<T> {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.publish_and_locate(publication).await.map(drop)
    }

    async fn publish_and_locate(&self, publication: Publication) -> Result<Option<Arc<str>>, PublishError> {
        // What sessions say of calls that run is no message of the test's, so nothing happens to it. Items are.
        let is_control = |body: &Bytes| Control::sniff(body) && !StreamItems::sniff(body);
        let spared = publication.bodies.iter().all(is_control);
        let kind = if spared {
            None
        } else {
            self.faults.take(&publication.topic)
        };
        let Some(kind) = kind else {
            return self.inner.publish_and_locate(publication).await;
        };
        let topic = publication.topic.clone();
        let outcome = match kind {
            Kind::Drop => Ok(None),
            Kind::Delay(delay) => {
                self.faults.count();
                sleep(delay).await;
                return self.inner.publish_and_locate(publication).await;
            }
            Kind::Duplicate => {
                self.inner.publish(publication.clone()).await?;
                self.inner.publish_and_locate(publication).await
            }
            Kind::Unconfirmed => {
                self.inner.publish(publication).await?;
                Err(PublishError::Unconfirmed {
                    address: "a fault of the test".into(),
                    topic,
                    reason: "the confirmation was lost".into(),
                })
            }
            Kind::Refuse => Err(PublishError::NotSent {
                address: "a fault of the test".into(),
                topic,
                waited: Duration::ZERO,
            }),
        };
        self.faults.count();
        outcome
    }

    async fn subscribe(
        &self,
        topic: &TopicName,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        let inner = self.inner.subscribe(topic, channel, options).await?;
        let faults = self.faults.clone();
        Ok(Subscription::new(Box::new(FaultySource { inner, faults })))
    }

    async fn topics(&self) -> Result<BTreeSet<TopicName>, TopicsError> {
        self.inner.topics().await
    }

    async fn has_subscribers(&self, topic: &TopicName) -> Result<bool, TopicsError> {
        self.inner.has_subscribers(topic).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

struct FaultySource {
    inner: Subscription,
    faults: Faults,
}

#[async_trait]
impl Source for FaultySource {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let next = futures_core::Stream::poll_next(std::pin::Pin::new(&mut self.inner), cx);
        next.map(|delivery| {
            delivery.map(|delivery| {
                let (body, id, node) = (delivery.body.clone(), delivery.id, Arc::clone(&delivery.node));
                let (timestamp, attempts) = (delivery.timestamp, delivery.attempts);
                let message_timeout = delivery.message_timeout;
                let faults = self.faults.clone();
                let topic = delivery.topic.clone();
                let answer = Box::new(FaultyAnswer { delivery, faults });
                let mut delivery =
                    Delivery::new(body, id, timestamp, attempts, node, message_timeout, answer);
                delivery.topic = topic;
                delivery
            })
        })
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Arc<str>> {
        self.inner.poll_lost(cx)
    }

    async fn close(self: Box<Self>) {
        self.inner.close().await;
    }
}

struct FaultyAnswer {
    delivery: Delivery,
    faults: Faults,
}

impl Acknowledge for FaultyAnswer {
    fn finish(self: Box<Self>) -> Result<(), AnswerError> {
        self.delivery.finish()
    }

    fn publish_and_finish(
        self: Box<Self>,
        topic: &TopicName,
        body: Bytes,
    ) -> Result<(), Box<dyn Acknowledge>> {
        if self.faults.concern(topic) {
            // Published by itself instead, so that the fault happens to it.
            return Err(self);
        }
        let Self { delivery, faults } = *self;
        match delivery.publish_and_finish(topic, body) {
            Ok(()) => Ok(()),
            Err(delivery) => Err(Box::new(Self {
                delivery: *delivery,
                faults,
            })),
        }
    }

    fn requeue(self: Box<Self>, delay: Duration) -> Result<(), AnswerError> {
        self.delivery.requeue(delay)
    }

    fn touch(&self) -> Result<(), AnswerError> {
        self.delivery.touch()
    }
}
