//! A subscription to all topics that match a pattern, which follows them as they appear.

use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use almanet_nsq::{ChannelName, TopicName};
use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use tokio::time::sleep;

use super::pattern::TopicPattern;
use crate::{
    error::ConsumeError,
    transport::{Delivery, Source, SubscribeError, SubscribeOptions, Subscription, Transport},
};

/// What came of a look for new topics.
type Found = Vec<(TopicName, Result<Subscription, SubscribeError>)>;

/// Subscriptions to the topics that match, one for each.
pub(super) struct Following {
    search: Arc<Search>,
    subscriptions: Vec<(Arc<TopicName>, Subscription)>,
    known: HashSet<TopicName>,
    /// The subscription that is asked first the next time, so that none is left behind.
    next: usize,
    looking: Pin<Box<dyn Future<Output = Found> + Send>>,
}

/// What is looked for, and how it is subscribed to.
struct Search {
    transport: Arc<dyn Transport>,
    pattern: TopicPattern,
    channel: ChannelName,
    options: SubscribeOptions,
    interval: Duration,
}

impl Following {
    /// Subscribes to the topics that match now, and to others within `interval` of their appearance.
    pub(super) async fn start(
        transport: &Arc<dyn Transport>,
        pattern: &TopicPattern,
        channel: &ChannelName,
        options: SubscribeOptions,
        interval: Duration,
    ) -> Result<Subscription, ConsumeError> {
        let search = Arc::new(Search {
            transport: Arc::clone(transport),
            pattern: pattern.clone(),
            channel: channel.clone(),
            options,
            interval,
        });
        let topics = transport.topics().await?;
        let matching = topics.into_iter().filter(|topic| pattern.matches(topic));
        let subscribing = matching.map(|topic| search.subscribe(topic));
        let subscriptions = try_join_all(subscribing.map(|subscribing| async {
            let (topic, subscription) = subscribing.await;
            subscription.map(|subscription| (Arc::new(topic), subscription))
        }))
        .await?;
        let known: HashSet<_> = subscriptions
            .iter()
            .map(|(topic, _)| TopicName::clone(topic))
            .collect();
        let looking = Box::pin(Arc::clone(&search).look(known.clone()));
        Ok(Subscription::new(Box::new(Self {
            search,
            subscriptions,
            known,
            next: 0,
            looking,
        })))
    }

    /// Takes in what has been found since, and looks again.
    fn poll_looking(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(found) = self.looking.as_mut().poll(cx) {
            for (topic, subscription) in found {
                let pattern = &self.search.pattern;
                match subscription {
                    Ok(subscription) => {
                        tracing::info!(%topic, %pattern, "a topic appeared");
                        self.known.insert(topic.clone());
                        self.subscriptions.push((Arc::new(topic), subscription));
                    }
                    Err(error) => {
                        tracing::warn!(%topic, %pattern, %error, "cannot consume a topic that appeared: trying again");
                    }
                }
            }
            self.looking = Box::pin(Arc::clone(&self.search).look(self.known.clone()));
        }
    }
}

impl Search {
    async fn look(self: Arc<Self>, known: HashSet<TopicName>) -> Found {
        sleep(self.interval).await;
        match self.transport.topics().await {
            Ok(topics) => {
                let new = topics
                    .into_iter()
                    .filter(|topic| !known.contains(topic) && self.pattern.matches(topic));
                join_all(new.map(|topic| self.subscribe(topic))).await
            }
            Err(error) => {
                tracing::warn!(pattern = %self.pattern, %error, "cannot look for new topics: trying again");
                Found::new()
            }
        }
    }

    async fn subscribe(&self, topic: TopicName) -> (TopicName, Result<Subscription, SubscribeError>) {
        let subscribing = self
            .transport
            .subscribe(&topic, &self.channel, self.options.clone());
        let subscription = subscribing.await;
        (topic, subscription)
    }
}

#[async_trait]
impl Source for Following {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll_looking(cx);
        let count = self.subscriptions.len();
        for offset in 0..count {
            let index = (self.next + offset) % count;
            let Some((topic, subscription)) = self.subscriptions.get_mut(index) else {
                continue;
            };
            match subscription.poll_recv(cx) {
                Poll::Ready(Some(mut delivery)) => {
                    delivery.topic = Some(Arc::clone(topic));
                    self.next = index + 1;
                    return Poll::Ready(Some(delivery));
                }
                // The transport is closed: all of them end.
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    async fn close(self: Box<Self>) {
        let closing = self
            .subscriptions
            .into_iter()
            .map(|(_, subscription)| subscription.close());
        join_all(closing).await;
    }
}
