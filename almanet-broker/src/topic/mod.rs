//! One topic: it copies what is published to each of its channels, under one lock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use almanet_nsq_proto::{ChannelName, Message, MessageId, TopicName};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    channel::{Channel, Subscriber, SubscriberId, after},
    client::Inbox,
    limits::{EPHEMERAL_DEPTH, LimitReached, Memory, ROOM_COST, body_cost, cost},
    step::Step,
    timer::Timer,
};

/// How long an ephemeral topic without a channel keeps its messages after the last one came.
///
/// nsqd keeps such a topic for ever. Replies to a caller that is gone make one; a caller that reconnects is back
/// within this time.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(60);

/// Bodies below this size are copied when they are taken in.
///
/// A body shares the buffer that its connection read it into, and would hold all 64 KiB of it while it waits.
const SHARED_BODY: usize = 16 * 1024;

/// What all topics of a broker share.
#[derive(Debug)]
pub(crate) struct TopicContext {
    pub(crate) memory: Arc<Memory>,
    pub(crate) timer: Timer,
    pub(crate) next_message: AtomicU64,
    pub(crate) max_channel_depth: usize,
    pub(crate) max_message_timeout: Duration,
}

/// Why a topic did not take messages or a subscriber.
#[derive(Debug)]
pub(crate) enum TopicError {
    /// The topic was ephemeral and has vanished; the registry makes a new one.
    Gone,
    /// There is no room.
    Limit(LimitReached),
}

/// Whether a topic has just vanished, and has to be [forgotten](crate::registry::Registry::forget).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Fate {
    Stays,
    Gone,
}

impl Fate {
    pub(crate) fn is_gone(self) -> bool {
        self == Self::Gone
    }
}

/// The number of a channel within its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChannelKey(u64);

/// A topic and its channels.
#[derive(Debug)]
pub(crate) struct Topic {
    name: TopicName,
    number: u64,
    this: Weak<Topic>,
    context: Arc<TopicContext>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    channels: BTreeMap<ChannelKey, Named>,
    next_channel: u64,
    /// What was published while there is no channel. It becomes the first channel.
    unclaimed: Channel<Inbox>,
    last_publish: Instant,
    /// When the timer rings for this topic.
    alarm: Option<Instant>,
    gone: bool,
}

#[derive(Debug)]
struct Named {
    name: ChannelName,
    machine: Channel<Inbox>,
    /// How many messages an ephemeral channel had no room for.
    dropped: u64,
}

impl Topic {
    pub(crate) fn new(name: TopicName, number: u64, context: Arc<TopicContext>) -> Arc<Self> {
        context.memory.charge(ROOM_COST);
        Arc::new_cyclic(|this| Self {
            name,
            number,
            this: Weak::clone(this),
            state: Mutex::new(State {
                channels: BTreeMap::new(),
                next_channel: 0,
                unclaimed: Channel::new(&context.memory, context.max_message_timeout),
                last_publish: Instant::now(),
                alarm: None,
                gone: false,
            }),
            context,
        })
    }

    pub(crate) fn name(&self) -> &TopicName {
        &self.name
    }

    /// Takes messages in, all or none, to be delivered at once or after `delay`.
    pub(crate) fn publish(
        &self,
        bodies: &[Bytes],
        delay: Option<Duration>,
        step: &mut Step,
    ) -> Result<(), TopicError> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(TopicError::Gone);
        }
        self.check_room(&state, bodies, delay)
            .map_err(TopicError::Limit)?;

        let due = delay
            .filter(|delay| !delay.is_zero())
            .map(|delay| after(step.now, delay));
        let first = self
            .context
            .next_message
            .fetch_add(bodies.len() as u64, Ordering::Relaxed);
        for (number, body) in (first..).zip(bodies) {
            let message = Message {
                timestamp: step.timestamp,
                attempts: 0,
                id: MessageId::from_number(number),
                body: detached(body),
            };
            self.distribute(&mut state, message, due, step);
        }
        state.last_publish = step.now;
        let earliest = state.earliest(&self.name);
        self.set_alarm(&mut state, earliest);
        Ok(())
    }

    /// Adds a subscriber to a channel, made on the spot if need be.
    pub(crate) fn subscribe(
        &self,
        channel: &ChannelName,
        id: SubscriberId,
        subscriber: Subscriber<Inbox>,
    ) -> Result<ChannelKey, TopicError> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(TopicError::Gone);
        }
        let known = state
            .channels
            .iter_mut()
            .find(|(_, known)| known.name == *channel);
        if let Some((key, known)) = known {
            known.machine.subscribe(id, subscriber);
            return Ok(*key);
        }

        let memory = &self.context.memory;
        if !memory.has_room(ROOM_COST) {
            return Err(TopicError::Limit(LimitReached::Memory {
                limit: memory.limit(),
            }));
        }
        memory.charge(ROOM_COST);
        let mut machine = Channel::new(memory, self.context.max_message_timeout);
        if state.channels.is_empty() {
            std::mem::swap(&mut machine, &mut state.unclaimed);
        }
        machine.subscribe(id, subscriber);
        let key = ChannelKey(state.next_channel);
        state.next_channel += 1;
        state.channels.insert(
            key,
            Named {
                name: channel.clone(),
                machine,
                dropped: 0,
            },
        );
        drop(state);
        tracing::debug!(topic = %self.name, %channel, "channel created");
        Ok(key)
    }

    /// Removes a subscriber, and with the last one an ephemeral channel, and with its last channel an ephemeral topic.
    pub(crate) fn unsubscribe(&self, key: ChannelKey, id: SubscriberId, step: &mut Step) -> Fate {
        let mut state = self.state.lock();
        let Some(channel) = state.channels.get_mut(&key) else {
            return Fate::Stays;
        };
        channel.machine.unsubscribe(id, step.now, &mut step.touched);
        if channel.machine.has_subscribers() || !channel.name.is_ephemeral() {
            let earliest = channel.machine.earliest();
            self.set_alarm(&mut state, earliest);
            return Fate::Stays;
        }
        if let Some(channel) = state.channels.remove(&key) {
            self.context.memory.release(ROOM_COST);
            tracing::debug!(topic = %self.name, channel = %channel.name, dropped = channel.dropped, "ephemeral channel gone");
        }
        if state.channels.is_empty() && self.name.is_ephemeral() {
            return self.vanish(&mut state);
        }
        Fate::Stays
    }

    /// Works on a channel; `None` when it is gone.
    pub(crate) fn with_channel<R>(
        &self,
        key: ChannelKey,
        work: impl FnOnce(&mut Channel<Inbox>) -> R,
    ) -> Option<R> {
        let mut state = self.state.lock();
        let channel = &mut state.channels.get_mut(&key)?.machine;
        let result = work(channel);
        let earliest = channel.earliest();
        self.set_alarm(&mut state, earliest);
        Some(result)
    }

    /// Does what the alarm was set for.
    pub(crate) fn ring(&self, step: &mut Step) -> Fate {
        let mut state = self.state.lock();
        state.alarm = None;
        for channel in state.channels.values_mut() {
            channel.machine.expire(step.now, &mut step.touched);
        }
        state.unclaimed.expire(step.now, &mut step.touched);
        if state
            .orphaned_until(&self.name)
            .is_some_and(|until| until <= step.now)
        {
            return self.vanish(&mut state);
        }
        let earliest = state.earliest(&self.name);
        self.set_alarm(&mut state, earliest);
        Fate::Stays
    }

    /// Refuses what has no room. Ephemeral channels do not refuse: they drop, in [`put`](Self::put).
    fn check_room(
        &self,
        state: &State,
        bodies: &[Bytes],
        delay: Option<Duration>,
    ) -> Result<(), LimitReached> {
        let at_once = bodies.len() == 1 && delay.is_none();
        let max_depth = self.context.max_channel_depth;
        let copies = state.channels.len().max(1);
        let bytes = || bodies.iter().map(|body| body_cost(body.len())).sum::<usize>() * copies;
        let check = |channel: &Channel<Inbox>, is_full: &dyn Fn() -> LimitReached| {
            if at_once && channel.is_hungry() {
                return Ok(());
            }
            if channel.depth() + bodies.len() > max_depth {
                return Err(is_full());
            }
            let memory = &self.context.memory;
            if !memory.has_room(bytes()) {
                return Err(LimitReached::Memory {
                    limit: memory.limit(),
                });
            }
            Ok(())
        };

        if state.channels.is_empty() && !self.name.is_ephemeral() {
            check(&state.unclaimed, &|| LimitReached::TopicDepth {
                topic: self.name.clone(),
                limit: max_depth,
            })?;
        }
        for channel in state.channels.values() {
            if !channel.name.is_ephemeral() {
                check(&channel.machine, &|| LimitReached::ChannelDepth {
                    topic: self.name.clone(),
                    channel: channel.name.clone(),
                    limit: max_depth,
                })?;
            }
        }
        Ok(())
    }

    /// Gives each channel a copy of the message.
    fn distribute(&self, state: &mut State, message: Message, due: Option<Instant>, step: &mut Step) {
        if state.channels.is_empty() {
            if !self.name.is_ephemeral() || self.has_room_for_ephemeral(&state.unclaimed, &message) {
                put(&mut state.unclaimed, message, due, step);
            }
            return;
        }
        let mut message = Some(message);
        let mut left = state.channels.len();
        for channel in state.channels.values_mut() {
            left -= 1;
            let copy = if left == 0 {
                message.take()
            } else {
                message.clone()
            };
            if let Some(copy) = copy {
                self.put_named(channel, copy, due, step);
            }
        }
    }

    fn put_named(&self, channel: &mut Named, message: Message, due: Option<Instant>, step: &mut Step) {
        if channel.name.is_ephemeral() && !self.has_room_for_ephemeral(&channel.machine, &message) {
            if channel.dropped == 0 {
                tracing::warn!(
                    topic = %self.name,
                    channel = %channel.name,
                    "ephemeral channel is full: dropping messages"
                );
            }
            channel.dropped += 1;
            return;
        }
        put(&mut channel.machine, message, due, step);
    }

    fn has_room_for_ephemeral(&self, channel: &Channel<Inbox>, message: &Message) -> bool {
        let max_depth = EPHEMERAL_DEPTH.min(self.context.max_channel_depth);
        channel.is_hungry() || (channel.depth() < max_depth && self.context.memory.has_room(cost(message)))
    }

    /// Makes the timer ring at `earliest`, unless it rings before that anyway.
    fn set_alarm(&self, state: &mut State, earliest: Option<Instant>) {
        let Some(earliest) = earliest else { return };
        if state.alarm.is_none_or(|alarm| earliest < alarm) {
            self.context
                .timer
                .set(self.number, state.alarm, earliest, &self.this);
            state.alarm = Some(earliest);
        }
    }

    fn vanish(&self, state: &mut State) -> Fate {
        state.gone = true;
        state.unclaimed = Channel::new(&self.context.memory, self.context.max_message_timeout);
        if let Some(alarm) = state.alarm.take() {
            self.context.timer.clear(self.number, alarm);
        }
        Fate::Gone
    }
}

impl State {
    /// A time at or before the one when something has to be done.
    fn earliest(&self, name: &TopicName) -> Option<Instant> {
        self.channels
            .values()
            .filter_map(|channel| channel.machine.earliest())
            .chain(self.unclaimed.earliest())
            .chain(self.orphaned_until(name))
            .min()
    }

    /// Until when an ephemeral topic without a channel stays.
    fn orphaned_until(&self, name: &TopicName) -> Option<Instant> {
        (name.is_ephemeral() && self.channels.is_empty()).then(|| after(self.last_publish, ORPHAN_TIMEOUT))
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let rooms = 1 + self.state.get_mut().channels.len();
        self.context.memory.release(ROOM_COST * rooms);
    }
}

fn put(channel: &mut Channel<Inbox>, message: Message, due: Option<Instant>, step: &mut Step) {
    match due {
        Some(due) => channel.defer(message, due),
        None => channel.publish(message, step.now, &mut step.touched),
    }
}

/// The body, no longer holding the read buffer that it came in unless it is most of it.
fn detached(body: &Bytes) -> Bytes {
    if body.len() < SHARED_BODY {
        Bytes::copy_from_slice(body)
    } else {
        body.clone()
    }
}
