//! From the registry into a store, and back.

use std::{sync::Arc, time::Instant};

use almanet_nsq_proto::TopicName;

use crate::{
    registry::Registry,
    step::Step,
    store::{Record, Store, StoreError},
    topic::{ChannelKey, Topic},
};

/// Brings back what the store has. What is damaged is logged.
pub(crate) fn restore(store: &mut dyn Store, registry: &Registry) -> Result<(), StoreError> {
    let mut restorer = Restorer {
        registry,
        step: Step::begin(),
        topic: None,
        channel: None,
        topics: 0,
        channels: 0,
        messages: 0,
    };
    let damage = store.load(&mut |record| restorer.take(record))?;
    let Restorer {
        topics,
        channels,
        messages,
        ..
    } = restorer;
    if let Some(damage) = damage {
        tracing::error!(
            "the saved state is damaged: {}; it is set aside as {}, and {topics} topics, {channels} channels and \
             {messages} messages before the damage are restored",
            damage.reason,
            damage.set_aside.display()
        );
    } else {
        tracing::info!("restored {topics} topics, {channels} channels and {messages} messages");
    }
    Ok(())
}

/// Saves what the registry has, and empties it.
pub(crate) fn save(store: &mut dyn Store, registry: &Registry) -> Result<(), StoreError> {
    let (mut topics, mut channels, mut messages) = (0_u64, 0_u64, 0_u64);
    let records = registry.take_records(Instant::now());
    store.save(&mut records.inspect(|record| match record {
        Record::Topic { .. } => topics += 1,
        Record::Channel { .. } => channels += 1,
        Record::Message(_) => messages += 1,
    }))?;
    tracing::info!("saved {topics} topics, {channels} channels and {messages} messages");
    Ok(())
}

/// Puts records where they belong: each has its place behind the ones before it.
struct Restorer<'a> {
    registry: &'a Registry,
    step: Step,
    topic: Option<Arc<Topic>>,
    channel: Option<ChannelKey>,
    topics: u64,
    channels: u64,
    messages: u64,
}

impl Restorer<'_> {
    fn take(&mut self, record: Record) {
        match record {
            Record::Topic { name, paused } => self.begin_topic(&name, paused),
            Record::Channel { name, paused } => {
                let topic = self.topic.as_ref();
                self.channel = topic.map(|topic| topic.restore_channel(&name, paused));
                self.channels += 1;
            }
            Record::Message(saved) => {
                self.registry.skip_message_id(&saved.message.id);
                if let Some(topic) = &self.topic {
                    topic.restore_message(self.channel, saved, &mut self.step);
                }
                self.messages += 1;
            }
        }
    }

    fn begin_topic(&mut self, name: &TopicName, paused: bool) {
        let topic = self.registry.restore(name);
        if paused {
            topic.pause();
        }
        self.topic = Some(topic);
        self.channel = None;
        self.topics += 1;
    }
}
