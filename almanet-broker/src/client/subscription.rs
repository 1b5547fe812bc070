//! A client's place in the channel that it subscribed to.

use std::{sync::Arc, time::Duration};

use almanet_nsq_proto::MessageId;

use crate::{
    channel::{NotInFlight, SubscriberId},
    registry::Registry,
    step::Step,
    topic::{ChannelKey, Topic},
};

/// The subscriber's commands, brought to the channel.
#[derive(Debug)]
pub(super) struct Subscription {
    topic: Arc<Topic>,
    channel: ChannelKey,
    id: SubscriberId,
}

impl Subscription {
    pub(super) fn new(topic: Arc<Topic>, channel: ChannelKey, id: SubscriberId) -> Self {
        Self { topic, channel, id }
    }

    pub(super) fn ready(&self, count: u64, step: &mut Step) {
        self.topic.with_channel(self.channel, |channel| {
            channel.ready(self.id, count, step.now, &mut step.touched);
        });
    }

    pub(super) fn finish(&self, message: &MessageId, step: &mut Step) -> Result<(), NotInFlight> {
        self.topic
            .with_channel(self.channel, |channel| {
                let published = channel.finish(self.id, message, step.now, &mut step.touched)?;
                #[cfg(feature = "http")]
                channel.took(step.timestamp.saturating_sub(published), step.now);
                #[cfg(not(feature = "http"))]
                let _ = published;
                Ok(())
            })
            .unwrap_or(Err(NotInFlight::Unknown))
    }

    pub(super) fn requeue(
        &self,
        message: &MessageId,
        delay: Duration,
        step: &mut Step,
    ) -> Result<(), NotInFlight> {
        self.topic
            .with_channel(self.channel, |channel| {
                channel.requeue(self.id, message, delay, step.now, &mut step.touched)
            })
            .unwrap_or(Err(NotInFlight::Unknown))
    }

    pub(super) fn touch(&self, message: &MessageId, step: &Step) -> Result<(), NotInFlight> {
        self.topic
            .with_channel(self.channel, |channel| channel.touch(self.id, message, step.now))
            .unwrap_or(Err(NotInFlight::Unknown))
    }

    pub(super) fn close(&self) {
        self.topic
            .with_channel(self.channel, |channel| channel.close(self.id));
    }

    pub(super) fn resume(&self, step: &mut Step) {
        self.topic.with_channel(self.channel, |channel| {
            channel.resume(self.id, step.now, &mut step.touched);
        });
    }

    /// Gives the place up. What was in flight goes to others.
    pub(super) fn leave(&self, registry: &Registry, step: &mut Step) {
        if self.topic.unsubscribe(self.channel, self.id, step).is_gone() {
            registry.forget(&self.topic);
        }
    }
}
