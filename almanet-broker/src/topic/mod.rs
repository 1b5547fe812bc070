//! One topic: it takes messages in and copies them to its channels, under one lock.

mod channels;
mod control;
mod report;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use almanet_nsq_proto::{ChannelName, Message, MessageId, TopicName};
use bytes::Bytes;
use parking_lot::Mutex;

use self::channels::Channels;
use crate::{
    channel::{Channel, Subscriber, SubscriberId, after},
    client::Inbox,
    limits::{LimitReached, Memory, ROOM_COST},
    registration::Changes,
    step::Step,
    store::{Record, SavedMessage},
    timer::Timer,
};

#[cfg(feature = "http")]
use crate::config::LatencyConfig;
#[cfg(feature = "lookupd")]
use crate::registration::Registration;

#[cfg(any(feature = "http", test))]
pub(crate) use self::control::NoSuchChannel;
#[cfg(feature = "http")]
pub(crate) use self::report::NamedReport;
pub(crate) use self::{
    channels::ChannelKey,
    report::{TopicReport, Totals},
};

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
    /// 0 for any number.
    pub(crate) max_channel_consumers: usize,
    pub(crate) max_message_timeout: Duration,
    #[cfg(feature = "http")]
    pub(crate) latency: LatencyConfig,
    pub(crate) changes: Changes,
    /// What the topics and channels did that are gone.
    pub(crate) departed: Mutex<Totals>,
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

/// A topic, its lock and its alarm.
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
    channels: Channels,
    /// When the timer rings for this topic.
    alarm: Option<Instant>,
    gone: bool,
    /// Messages that were published.
    messages: u64,
    /// The bodies of those, in bytes.
    bytes: u64,
}

impl Topic {
    pub(crate) fn new(name: TopicName, number: u64, context: Arc<TopicContext>) -> Arc<Self> {
        context.memory.charge(ROOM_COST);
        Arc::new_cyclic(|this| Self {
            state: Mutex::new(State {
                channels: Channels::new(name.clone(), Arc::clone(&context)),
                alarm: None,
                gone: false,
                messages: 0,
                bytes: 0,
            }),
            name,
            number,
            this: Weak::clone(this),
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
        let delay = delay.filter(|delay| !delay.is_zero());
        let room = state.channels.check_room(bodies, delay);
        if let Err(reached) = room {
            self.set_alarm(&mut state);
            return Err(TopicError::Limit(reached));
        }

        let due = delay.map(|delay| after(step.now, delay));
        let first = self
            .context
            .next_message
            .fetch_add(bodies.len() as u64, Ordering::Relaxed);
        state.messages += bodies.len() as u64;
        for (number, body) in (first..).zip(bodies) {
            state.bytes += body.len() as u64;
            let message = Message {
                timestamp: step.timestamp,
                attempts: 0,
                id: MessageId::from_number(number),
                body: detached(body),
            };
            state.channels.distribute(message, due, step);
        }
        self.set_alarm(&mut state);
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
        let joined = state.channels.join(channel, id, subscriber);
        self.set_alarm(&mut state);
        joined
    }

    /// Removes a subscriber, and with the last one an ephemeral channel, and with its last channel an ephemeral topic.
    pub(crate) fn unsubscribe(&self, key: ChannelKey, id: SubscriberId, step: &mut Step) -> Fate {
        let mut state = self.state.lock();
        state.channels.leave(key, id, step);
        if state.channels.is_empty() && self.name.is_ephemeral() {
            return self.vanish(&mut state);
        }
        self.set_alarm(&mut state);
        Fate::Stays
    }

    /// Works on a channel; `None` when it is gone.
    pub(crate) fn with_channel<R>(
        &self,
        key: ChannelKey,
        work: impl FnOnce(&mut Channel<Inbox>) -> R,
    ) -> Option<R> {
        let mut state = self.state.lock();
        let channel = state.channels.get_mut(key)?;
        let result = work(channel);
        let earliest = channel.earliest();
        self.set_alarm_at(&mut state, earliest);
        Some(result)
    }

    /// Makes a channel that was saved, whether there is room or not.
    pub(crate) fn restore_channel(&self, name: &ChannelName, paused: bool) -> ChannelKey {
        self.state.lock().channels.restore(name, paused)
    }

    /// Takes in a message that was saved, whether there is room or not, for a channel or for the first one to come.
    pub(crate) fn restore_message(&self, key: Option<ChannelKey>, saved: SavedMessage, step: &mut Step) {
        let SavedMessage { mut message, delay } = saved;
        message.body = detached(&message.body);
        let due = (!delay.is_zero()).then(|| after(step.now, delay));
        let mut state = self.state.lock();
        state.channels.restore_message(key, message, due, step);
        self.set_alarm(&mut state);
    }

    /// The topic and its channels; nothing when it is gone.
    #[cfg(feature = "lookupd")]
    pub(crate) fn registrations(&self) -> Vec<Registration> {
        let state = self.state.lock();
        if state.gone {
            return Vec::new();
        }
        let names = std::iter::once(None).chain(state.channels.names().map(Some));
        let of = |channel| Registration {
            topic: self.name.clone(),
            channel,
        };
        names.map(of).collect()
    }

    /// Holds messages back, until [`release`](Self::release).
    #[cfg(feature = "lookupd")]
    pub(crate) fn hold(&self) {
        self.state.lock().channels.hold();
    }

    /// Makes channels and gives each of them, and of those that were made meanwhile, what was held back.
    #[cfg(feature = "lookupd")]
    pub(crate) fn release(&self, names: &[ChannelName], step: &mut Step) {
        let mut state = self.state.lock();
        if !state.gone {
            state.channels.release(names, step);
            self.set_alarm(&mut state);
        }
    }

    /// Ends deliveries for good. Answers and publishes are still taken.
    pub(crate) fn halt(&self) {
        self.state.lock().channels.halt();
    }

    /// Takes out what shall be saved, after which the topic is gone.
    pub(crate) fn take_records(&self, now: Instant) -> impl Iterator<Item = Record> + use<> {
        let mut state = self.state.lock();
        let topic = Record::Topic {
            name: self.name.clone(),
            paused: state.channels.is_paused(),
        };
        let records = state.channels.take_records(now);
        let _: Fate = self.vanish(&mut state);
        std::iter::once(topic).chain(records)
    }

    /// Does what the alarm was set for.
    pub(crate) fn ring(&self, step: &mut Step) -> Fate {
        let mut state = self.state.lock();
        if state.gone {
            return Fate::Stays;
        }
        state.alarm = None;
        state.channels.expire(step);
        let orphaned_until = state.channels.orphaned_until();
        if orphaned_until.is_some_and(|until| until <= step.now) {
            return self.vanish(&mut state);
        }
        self.set_alarm(&mut state);
        Fate::Stays
    }

    /// Makes the timer ring when something has to be done.
    fn set_alarm(&self, state: &mut State) {
        let earliest = state.channels.earliest();
        self.set_alarm_at(state, earliest);
    }

    /// Makes the timer ring at `earliest`, unless it rings before that anyway.
    fn set_alarm_at(&self, state: &mut State, earliest: Option<Instant>) {
        let Some(earliest) = earliest else { return };
        if state.alarm.is_none_or(|alarm| earliest < alarm) {
            self.context
                .timer
                .set(self.number, state.alarm, earliest, &self.this);
            state.alarm = Some(earliest);
        }
    }

    fn vanish(&self, state: &mut State) -> Fate {
        if std::mem::replace(&mut state.gone, true) {
            return Fate::Stays;
        }
        state.channels.clear();
        let mut departed = self.context.departed.lock();
        departed.messages += state.messages;
        departed.bytes += state.bytes;
        drop(departed);
        if let Some(alarm) = state.alarm.take() {
            self.context.timer.clear(self.number, alarm);
        }
        Fate::Gone
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.context.memory.release(ROOM_COST);
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
