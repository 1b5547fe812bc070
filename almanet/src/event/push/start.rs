//! Subscribing a push consumer.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{consumer::PushConsumer, context::Surroundings, shown::ShownConsumer, worker::Worker};
use crate::{
    error::{ConsumeError, StartError},
    event::topics::{Channel, Reading, Topics},
    session::Session,
    transport::{SubscribeOptions, Subscription},
};

/// A push consumer whose subscription is confirmed.
pub(crate) struct Subscribed {
    pub(crate) shown: ShownConsumer,
    worker: Worker,
    subscription: Subscription,
}

/// Subscribes the consumer; nothing is handled before it [runs](Subscribed::run).
pub(crate) async fn subscribe(
    session: &Session,
    consumer: PushConsumer,
    grace: Duration,
) -> Result<Subscribed, StartError> {
    let names = (consumer.topics.clone(), consumer.channel.clone());
    subscribe_to(session, consumer, grace).await.map_err(|source| {
        let (Topics::One(topic) | Topics::Matching(topic), channel) = names;
        let channel = match channel {
            Channel::Named(channel) => channel,
            Channel::Own => "a channel of its own".to_owned(),
        };
        StartError::Consume {
            topic,
            channel,
            source,
        }
    })
}

async fn subscribe_to(
    session: &Session,
    consumer: PushConsumer,
    grace: Duration,
) -> Result<Subscribed, ConsumeError> {
    let reading = Reading::new(&consumer.topics, &consumer.channel)?;
    reading.check_dead_letters()?;
    let options = SubscribeOptions {
        max_in_flight: consumer.concurrency,
        message_timeout: Some(consumer.message_timeout),
        // What still runs after the grace is dropped, and closing waits for those answers too.
        close_timeout: grace.saturating_add(Duration::from_secs(2)),
        ..SubscribeOptions::default()
    };
    let subscription = reading
        .subscribe(session, options, consumer.follow_interval)
        .await?;
    let entrance = reading.entrance(session);
    let shown = ShownConsumer::new(&consumer, &reading, Arc::clone(&entrance.consumed));
    let worker = Worker {
        surroundings: Arc::new(Surroundings {
            session: session.clone(),
            channel: reading.channel.clone(),
            #[cfg(feature = "metrics")]
            channel_label: reading.channel_label(),
        }),
        entrance,
        topics: reading.topics,
        handler: consumer.handler,
        concurrency: consumer.concurrency,
        max_attempts: u32::from(consumer.max_attempts),
        retry: consumer.retry,
        timeout: consumer.timeout,
        grace,
        abort: CancellationToken::new(),
    };
    Ok(Subscribed {
        shown,
        worker,
        subscription,
    })
}

impl Subscribed {
    /// Handles events until `stop` fires, then drains. `abort` ends what still runs.
    pub(crate) async fn run(mut self, stop: CancellationToken, abort: CancellationToken) {
        tracing::info!(topic = %self.worker.topics, channel = %self.worker.entrance.channel, "consuming");
        self.worker.abort = abort;
        Arc::new(self.worker).run(self.subscription, stop).await;
    }
}
