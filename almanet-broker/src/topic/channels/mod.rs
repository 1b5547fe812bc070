//! The channels of a topic: who gets a copy of a message, and who has no room for it.

mod saved;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use almanet_nsq_proto::{ChannelName, Message, TopicName};
use bytes::Bytes;

use super::{
    TopicContext, TopicError,
    report::{ChannelsReport, NamedReport},
};
use crate::{
    channel::{Channel, Subscriber, SubscriberId, after},
    client::Inbox,
    limits::{EPHEMERAL_DEPTH, LimitReached, ROOM_COST, body_cost, cost},
    step::Step,
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
pub(super) struct Channels {
    topic: TopicName,
    context: Arc<TopicContext>,
    named: BTreeMap<ChannelKey, Named>,
    next_key: u64,
    /// What was published while there is no channel or the topic is paused. Without a pause, it becomes the first
    /// channel.
    unclaimed: Channel<Inbox>,
    /// Whether messages are held back until it is known which channels there shall be.
    held: bool,
    paused: bool,
    /// How many messages ephemeral channels, or an ephemeral topic without one, had no room for.
    dropped: u64,
    last_publish: Instant,
}

#[derive(Debug)]
struct Named {
    name: ChannelName,
    machine: Channel<Inbox>,
    /// How many messages an ephemeral channel had no room for.
    dropped: u64,
}

impl Channels {
    pub(super) fn new(topic: TopicName, context: Arc<TopicContext>) -> Self {
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

    /// Refuses messages that have no room. Ephemeral channels do not refuse: they drop.
    pub(super) fn check_room(&self, bodies: &[Bytes], delay: Option<Duration>) -> Result<(), LimitReached> {
        let at_once = bodies.len() == 1 && delay.is_none();
        let limit = self.context.max_channel_depth;
        if self.keeps_back() && !self.named.is_empty() {
            return self.check_room_when_paused(bodies);
        }
        if self.named.is_empty() && !self.topic.is_ephemeral() {
            if self.unclaimed.depth() + bodies.len() > limit {
                return Err(LimitReached::TopicDepth {
                    topic: self.topic.clone(),
                    limit,
                });
            }
            return self.check_memory(bodies, 1);
        }
        let (mut copies, mut at_once_copies) = (0, 0);
        for Named { name, machine, .. } in self.named.values() {
            if name.is_ephemeral() {
                continue;
            }
            if at_once && machine.is_hungry() {
                at_once_copies += 1;
                continue;
            }
            if machine.depth() + bodies.len() > limit {
                return Err(LimitReached::ChannelDepth {
                    topic: self.topic.clone(),
                    channel: name.clone(),
                    limit,
                });
            }
            copies += 1;
        }
        let memory = &self.context.memory;
        memory.check_room_in_flight(all(bodies).saturating_mul(at_once_copies))?;
        self.check_memory(bodies, copies)
    }

    /// What waits in a paused topic comes into each of its channels, so there it has to have room too.
    fn check_room_when_paused(&self, bodies: &[Bytes]) -> Result<(), LimitReached> {
        let limit = self.context.max_channel_depth;
        let coming = self.unclaimed.depth() + bodies.len();
        let full = self
            .named
            .values()
            .find(|channel| !channel.name.is_ephemeral() && channel.machine.depth() + coming > limit);
        if let Some(channel) = full {
            return Err(LimitReached::ChannelDepth {
                topic: self.topic.clone(),
                channel: channel.name.clone(),
                limit,
            });
        }
        if coming > limit {
            return Err(LimitReached::PausedDepth {
                topic: self.topic.clone(),
                limit,
            });
        }
        self.check_memory(bodies, self.named.len())
    }

    fn check_memory(&self, bodies: &[Bytes], copies: usize) -> Result<(), LimitReached> {
        if copies == 0 {
            return Ok(());
        }
        self.context.memory.check_room(all(bodies).saturating_mul(copies))
    }

    /// Gives each channel a copy of the message.
    pub(super) fn distribute(&mut self, message: Message, due: Option<Instant>, step: &mut Step) {
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
    pub(super) fn join(
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
    pub(super) fn open(&mut self, channel: &ChannelName) -> Result<ChannelKey, TopicError> {
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
    fn create(&mut self, channel: &ChannelName) -> ChannelKey {
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
    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    /// Makes channels, as far as there is room, and gives all channels what was held back.
    pub(super) fn release(&mut self, names: &[ChannelName], step: &mut Step) {
        for name in names {
            if self.key(name).is_none() && self.context.memory.check_room(ROOM_COST).is_ok() {
                self.create(name);
            }
        }
        self.held = false;
        self.let_go(step);
    }

    /// Whether messages wait in the topic although there may be channels.
    fn keeps_back(&self) -> bool {
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

    pub(super) fn key(&self, channel: &ChannelName) -> Option<ChannelKey> {
        let mut named = self.named.iter();
        named.find_map(|(key, known)| (known.name == *channel).then_some(*key))
    }

    /// Removes a subscriber, and with the last one an ephemeral channel.
    pub(super) fn leave(&mut self, key: ChannelKey, id: SubscriberId, step: &mut Step) {
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
    pub(super) fn remove(&mut self, key: ChannelKey) {
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
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// Gives what has waited to the channels.
    pub(super) fn unpause(&mut self, step: &mut Step) {
        self.paused = false;
        self.let_go(step);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Forgets the messages that are in no channel.
    pub(super) fn empty(&mut self) {
        self.unclaimed = Channel::new(&self.context.memory, self.context.max_message_timeout);
    }

    pub(super) fn report(&self, now: Instant) -> ChannelsReport {
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
    pub(super) fn names(&self) -> impl Iterator<Item = ChannelName> {
        self.named.values().map(|channel| channel.name.clone())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    pub(super) fn get_mut(&mut self, key: ChannelKey) -> Option<&mut Channel<Inbox>> {
        Some(&mut self.named.get_mut(&key)?.machine)
    }

    /// Lets the messages of all channels time out and become due.
    pub(super) fn expire(&mut self, step: &mut Step) {
        for channel in self.named.values_mut() {
            channel.machine.expire(step.now, &mut step.touched);
        }
        self.unclaimed.expire(step.now, &mut step.touched);
    }

    /// Removes all channels, and the messages that are in none.
    pub(super) fn clear(&mut self) {
        while let Some((key, _)) = self.named.first_key_value() {
            self.remove(*key);
        }
        self.context.departed.lock().dropped += self.dropped;
        self.empty();
    }

    /// A time at or before the one when something has to be done.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.named
            .values()
            .filter_map(|channel| channel.machine.earliest())
            .chain(self.unclaimed.earliest())
            .chain(self.orphaned_until())
            .min()
    }

    /// Until when an ephemeral topic without a channel stays.
    pub(super) fn orphaned_until(&self) -> Option<Instant> {
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

/// Whether an ephemeral channel takes the message.
fn has_room(channel: &Channel<Inbox>, message: &Message, context: &TopicContext) -> bool {
    let max_depth = EPHEMERAL_DEPTH.min(context.max_channel_depth);
    let room = if channel.is_hungry() {
        context.memory.check_room_in_flight(cost(message))
    } else if channel.depth() < max_depth {
        context.memory.check_room(cost(message))
    } else {
        return false;
    };
    room.is_ok()
}

/// What all of the messages count together, in bytes.
fn all(bodies: &[Bytes]) -> usize {
    bodies.iter().map(|body| body_cost(body.len())).sum()
}

fn put(channel: &mut Channel<Inbox>, message: Message, due: Option<Instant>, step: &mut Step) {
    match due {
        Some(due) => channel.defer(message, due),
        None => channel.publish(message, step.now, &mut step.touched),
    }
}
