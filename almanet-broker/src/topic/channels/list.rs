//! The channels of a topic, as they come and go, and who gets a copy of a message.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use almanet_nsq_proto::{ChannelName, Message, TopicName};

use super::room::has_room;
use crate::{
    channel::{Channel, Subscriber, SubscriberId, after},
    client::Inbox,
    limits::{LimitReached, ROOM_COST},
    step::Step,
    topic::{
        TopicContext, TopicError,
        report::{ChannelsReport, NamedReport},
    },
};

/// How long an ephemeral topic without a channel keeps its messages after the last one came.
///
/// nsqd keeps such a topic for ever. Replies to a caller that is gone make one; a caller that reconnects is back
/// within this time.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(60);

/// The number of a channel within its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChannelKey(u64);

/// The channels of one topic.
#[derive(Debug)]
pub(in crate::topic) struct Channels {
    pub(super) topic: TopicName,
    pub(super) context: Arc<TopicContext>,
    pub(super) named: BTreeMap<ChannelKey, Named>,
    next_key: u64,
    /// What was published while there is no channel or the topic is paused. Without a pause, it becomes the first
    /// channel.
    pub(super) unclaimed: Channel<Inbox>,
    /// Whether messages are held back until it is known which channels there shall be.
    held: bool,
    paused: bool,
    /// How many messages ephemeral channels, or an ephemeral topic without one, had no room for.
    dropped: u64,
    last_publish: Instant,
}

#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: ChannelName,
    pub(super) machine: Channel<Inbox>,
    /// How many messages an ephemeral channel had no room for.
    dropped: u64,
}

impl Channels {
    pub(in crate::topic) fn new(topic: TopicName, context: Arc<TopicContext>) -> Self {
        Self {
            unclaimed: Channel::new(&context.memory, context.max_message_timeout),
            topic,
            context,
            named: BTreeMap::new(),
            next_key: 0,
            held: false,
            paused: false,
            dropped: 0,
            last_publish: Instant::now(),
        }
    }

    /// Gives each channel a copy of the message.
    pub(in crate::topic) fn distribute(&mut self, message: Message, due: Option<Instant>, step: &mut Step) {
        self.last_publish = step.now;
        if self.named.is_empty() || self.keeps_back() {
            if !self.topic.is_ephemeral() || has_room(&self.unclaimed, &message, &self.context) {
                put(&mut self.unclaimed, message, due, step);
            } else {
                self.dropped += 1;
            }
            return;
        }
        let mut message = Some(message);
        let mut left = self.named.len();
        for channel in self.named.values_mut() {
            left -= 1;
            let copy = if left == 0 {
                message.take()
            } else {
                message.clone()
            };
            let Some(copy) = copy else { return };
            if channel.name.is_ephemeral() && !has_room(&channel.machine, &copy, &self.context) {
                channel.drop_one(&self.topic);
                self.dropped += 1;
            } else {
                put(&mut channel.machine, copy, due, step);
            }
        }
    }

    /// Adds a subscriber to a channel, made on the spot if need be.
    pub(in crate::topic) fn join(
        &mut self,
        channel: &ChannelName,
        id: SubscriberId,
        subscriber: Subscriber<Inbox>,
    ) -> Result<ChannelKey, TopicError> {
        let key = self.open(channel)?;
        if let Some(known) = self.named.get_mut(&key) {
            let limit = self.context.max_channel_consumers;
            if limit != 0 && known.machine.subscribers() >= limit {
                return Err(TopicError::Limit(LimitReached::Consumers {
                    topic: self.topic.clone(),
                    channel: channel.clone(),
                    limit,
                }));
            }
            known.machine.subscribe(id, subscriber);
        }
        Ok(key)
    }

    /// The channel of this name, made on the spot if need be.
    pub(in crate::topic) fn open(&mut self, channel: &ChannelName) -> Result<ChannelKey, TopicError> {
        if let Some(key) = self.key(channel) {
            return Ok(key);
        }
        self.context
            .memory
            .check_room_for_channel()
            .map_err(TopicError::Limit)?;
        Ok(self.create(channel))
    }

    /// Makes a channel. The first one gets what waits for it.
    pub(super) fn create(&mut self, channel: &ChannelName) -> ChannelKey {
        self.context.memory.charge(ROOM_COST);
        let mut machine = Channel::new(&self.context.memory, self.context.max_message_timeout);
        if self.named.is_empty() && !self.keeps_back() {
            std::mem::swap(&mut machine, &mut self.unclaimed);
        }
        #[cfg(feature = "http")]
        machine.measure(&self.context.latency, Instant::now());
        let key = ChannelKey(self.next_key);
        self.next_key += 1;
        self.named.insert(
            key,
            Named {
                name: channel.clone(),
                machine,
                dropped: 0,
            },
        );
        self.context.changes.added(&self.topic, Some(channel));
        tracing::debug!(topic = %self.topic, %channel, "channel created");
        key
    }

    /// Holds messages back, until [`release`](Self::release).
    #[cfg(feature = "lookupd")]
    pub(in crate::topic) fn hold(&mut self) {
        self.held = true;
    }

    /// Makes channels, as far as there is room, and gives all channels what was held back.
    pub(in crate::topic) fn release(&mut self, names: &[ChannelName], step: &mut Step) {
        for name in names {
            if self.key(name).is_none() && self.context.memory.check_room(ROOM_COST).is_ok() {
                self.create(name);
            }
        }
        self.held = false;
        self.let_go(step);
    }

    /// Whether messages wait in the topic although there may be channels.
    pub(super) fn keeps_back(&self) -> bool {
        self.paused || self.held
    }

    /// Gives what has waited to the channels, if there are any and nothing keeps it back.
    fn let_go(&mut self, step: &mut Step) {
        if self.keeps_back() || self.named.is_empty() {
            return;
        }
        let context = &self.context;
        let mut waited = std::mem::replace(
            &mut self.unclaimed,
            Channel::new(&context.memory, context.max_message_timeout),
        );
        for (message, due) in waited.take_waiting() {
            self.distribute(message, due, step);
        }
    }

    pub(in crate::topic) fn key(&self, channel: &ChannelName) -> Option<ChannelKey> {
        let mut named = self.named.iter();
        named.find_map(|(key, known)| (known.name == *channel).then_some(*key))
    }

    /// Removes a subscriber, and with the last one an ephemeral channel.
    pub(in crate::topic) fn leave(&mut self, key: ChannelKey, id: SubscriberId, step: &mut Step) {
        let Some(channel) = self.named.get_mut(&key) else {
            return;
        };
        channel.machine.unsubscribe(id, step.now, &mut step.touched);
        if channel.machine.subscribers() > 0 || !channel.name.is_ephemeral() {
            return;
        }
        self.remove(key);
    }

    /// Removes a channel with its messages, and ends the connections of its subscribers.
    pub(in crate::topic) fn remove(&mut self, key: ChannelKey) {
        let Some(mut channel) = self.named.remove(&key) else {
            return;
        };
        channel.machine.end_subscribers();
        self.context.memory.release(ROOM_COST);
        self.context.departed.lock().channels += channel.machine.counts();
        self.context.changes.removed(&self.topic, Some(&channel.name));
        tracing::debug!(
            topic = %self.topic,
            channel = %channel.name,
            dropped = channel.dropped,
            "channel gone"
        );
    }

    /// Lets messages wait in the topic instead of the channels, until [`unpause`](Self::unpause).
    pub(in crate::topic) fn pause(&mut self) {
        self.paused = true;
    }

    /// Gives what has waited to the channels.
    pub(in crate::topic) fn unpause(&mut self, step: &mut Step) {
        self.paused = false;
        self.let_go(step);
    }

    pub(in crate::topic) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Forgets the messages that are in no channel.
    pub(in crate::topic) fn empty(&mut self) {
        self.unclaimed = Channel::new(&self.context.memory, self.context.max_message_timeout);
    }

    pub(in crate::topic) fn report(&self, now: Instant) -> ChannelsReport {
        let mut channels: Vec<_> = self
            .named
            .values()
            .map(|channel| NamedReport {
                name: channel.name.clone(),
                channel: channel.machine.report(now),
            })
            .collect();
        channels.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        ChannelsReport {
            depth: self.unclaimed.depth(),
            is_paused: self.paused,
            dropped: self.dropped,
            channels,
        }
    }

    /// The names of the channels, in the order in which they were made.
    #[cfg(feature = "lookupd")]
    pub(in crate::topic) fn names(&self) -> impl Iterator<Item = ChannelName> {
        self.named.values().map(|channel| channel.name.clone())
    }

    pub(in crate::topic) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    pub(in crate::topic) fn get_mut(&mut self, key: ChannelKey) -> Option<&mut Channel<Inbox>> {
        Some(&mut self.named.get_mut(&key)?.machine)
    }

    /// Lets the messages of all channels time out and become due.
    pub(in crate::topic) fn expire(&mut self, step: &mut Step) {
        for channel in self.named.values_mut() {
            channel.machine.expire(step.now, &mut step.touched);
        }
        self.unclaimed.expire(step.now, &mut step.touched);
    }

    /// Removes all channels, and the messages that are in none.
    pub(in crate::topic) fn clear(&mut self) {
        while let Some((key, _)) = self.named.first_key_value() {
            self.remove(*key);
        }
        self.context.departed.lock().dropped += self.dropped;
        self.empty();
    }

    /// A time at or before the one when something has to be done.
    pub(in crate::topic) fn earliest(&self) -> Option<Instant> {
        self.named
            .values()
            .filter_map(|channel| channel.machine.earliest())
            .chain(self.unclaimed.earliest())
            .chain(self.orphaned_until())
            .min()
    }

    /// Until when an ephemeral topic without a channel stays.
    pub(in crate::topic) fn orphaned_until(&self) -> Option<Instant> {
        (self.topic.is_ephemeral() && self.named.is_empty()).then(|| after(self.last_publish, ORPHAN_TIMEOUT))
    }
}

impl Named {
    fn drop_one(&mut self, topic: &TopicName) {
        if self.dropped == 0 {
            tracing::warn!(%topic, channel = %self.name, "ephemeral channel is full: dropping messages");
        }
        self.dropped += 1;
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.context.memory.release(ROOM_COST * self.named.len());
    }
}

pub(super) fn put(channel: &mut Channel<Inbox>, message: Message, due: Option<Instant>, step: &mut Step) {
    match due {
        Some(due) => channel.defer(message, due),
        None => channel.publish(message, step.now, &mut step.touched),
    }
}
