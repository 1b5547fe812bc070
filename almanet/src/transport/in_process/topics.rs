//! All topics of a transport, and their channels.

use std::collections::{BTreeMap, BTreeSet};

use almanet_nsq::{ChannelName, TopicName};

use super::queue::{Queue, Queued};

/// The topics by name.
#[derive(Debug, Default)]
pub(super) struct Topics {
    topics: BTreeMap<TopicName, Topic>,
    pub(super) closed: bool,
}

#[derive(Debug, Default)]
struct Topic {
    channels: BTreeMap<ChannelName, Queue>,
    /// What was published before there was a channel: the first one gets it, as with nsqd.
    backlog: Vec<Queued>,
}

/// A queue that is too long to take more.
pub(super) struct Full;

impl Topics {
    /// Puts the messages into every channel of the topic, or none into any.
    pub(super) fn publish(
        &mut self,
        topic: &TopicName,
        messages: Vec<Queued>,
        max_depth: usize,
    ) -> Result<(), Full> {
        let topic = self.topics.entry(topic.clone()).or_default();
        let room = |depth: usize| depth.saturating_add(messages.len()) <= max_depth;
        if !room(topic.backlog.len()) || !topic.channels.values().all(|queue| room(queue.depth())) {
            return Err(Full);
        }
        if topic.channels.is_empty() {
            topic.backlog.extend(messages);
            return Ok(());
        }
        for queue in topic.channels.values_mut() {
            messages.iter().cloned().for_each(|message| queue.push(message));
        }
        Ok(())
    }

    pub(super) fn subscribe(&mut self, topic: &TopicName, channel: &ChannelName) {
        let topic = self.topics.entry(topic.clone()).or_default();
        let queue = topic.channels.entry(channel.clone()).or_default();
        queue.subscribers += 1;
        topic.backlog.drain(..).for_each(|message| queue.push(message));
    }

    /// The last subscriber of an ephemeral channel takes it along, and the last channel of an ephemeral topic that.
    pub(super) fn unsubscribe(&mut self, topic_name: &TopicName, channel: &ChannelName) {
        let Some(topic) = self.topics.get_mut(topic_name) else {
            return;
        };
        if let Some(queue) = topic.channels.get_mut(channel) {
            queue.subscribers = queue.subscribers.saturating_sub(1);
            if queue.subscribers == 0 && channel.is_ephemeral() {
                topic.channels.remove(channel);
            }
        }
        if topic.channels.is_empty() && topic_name.is_ephemeral() {
            self.topics.remove(topic_name);
        }
    }

    pub(super) fn queue(&mut self, topic: &TopicName, channel: &ChannelName) -> Option<&mut Queue> {
        self.topics.get_mut(topic)?.channels.get_mut(channel)
    }

    pub(super) fn names(&self) -> BTreeSet<TopicName> {
        self.topics.keys().cloned().collect()
    }

    /// Whether anybody is subscribed to the topic.
    pub(super) fn is_read(&self, topic: &TopicName) -> bool {
        let topic = self.topics.get(topic);
        topic.is_some_and(|topic| topic.channels.values().any(|queue| queue.subscribers > 0))
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        let topics = self.topics.values_mut();
        topics
            .flat_map(|topic| topic.channels.values_mut())
            .for_each(Queue::wake);
    }
}
