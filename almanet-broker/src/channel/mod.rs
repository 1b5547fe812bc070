//! One channel: a queue, its subscribers, and what is between them.
//!
//! A [`Channel`] is a pure machine: it has no task, no lock and no clock. Whoever drives it says what time it is,
//! and gets what it sends through an [`Outlet`]. So its rules are tested by moving `now`.

mod control;
mod counts;
mod deferred;
mod in_flight;
#[cfg(feature = "http")]
mod latency;
#[cfg(test)]
mod model;
mod queue;
mod report;
mod subscriber;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasherDefault,
    sync::Arc,
    time::{Duration, Instant},
};

use almanet_nsq_proto::{Frame, Message, MessageId};

use self::{
    deferred::Deferred,
    in_flight::{IdHasher, InFlight},
    queue::Queue,
};
#[cfg(feature = "http")]
use crate::config::LatencyConfig;
use crate::limits::Memory;

#[cfg(feature = "http")]
pub(crate) use self::latency::LatencyReport;
pub(crate) use self::{
    counts::Counts,
    in_flight::NotInFlight,
    report::{ChannelReport, SubscriberReport},
    subscriber::{Offer, Outlet, Subscriber, SubscriberId},
};

/// The queue machine of a channel.
#[derive(Debug)]
pub(crate) struct Channel<O: Outlet> {
    queue: Queue,
    deferred: Deferred,
    in_flight: InFlight,
    subscribers: HashMap<SubscriberId, Subscriber<O>, BuildHasherDefault<IdHasher>>,
    /// The subscribers that want a message, in the order in which they get one. A subscriber is in here at most
    /// once; one that no longer wants any is dropped when its turn comes.
    rotation: VecDeque<SubscriberId>,
    max_message_timeout: Duration,
    /// Whether messages wait although subscribers are ready.
    paused: bool,
    counts: Counts,
    /// `None` when nobody wants to know it.
    #[cfg(feature = "http")]
    latency: Option<Box<latency::Latency>>,
}

impl<O: Outlet> Channel<O> {
    /// A channel without messages and subscribers; TOUCH keeps a message at most `max_message_timeout`.
    pub(crate) fn new(memory: &Arc<Memory>, max_message_timeout: Duration) -> Self {
        Self {
            queue: Queue::new(Arc::clone(memory)),
            deferred: Deferred::new(Arc::clone(memory)),
            in_flight: InFlight::new(Arc::clone(memory)),
            subscribers: HashMap::default(),
            rotation: VecDeque::new(),
            max_message_timeout,
            paused: false,
            counts: Counts::default(),
            #[cfg(feature = "http")]
            latency: None,
        }
    }

    /// Measures from now on what `config` says.
    #[cfg(feature = "http")]
    pub(crate) fn measure(&mut self, config: &LatencyConfig, now: Instant) {
        self.latency = latency::Latency::new(config, now);
    }

    /// How many messages wait, deferred ones included.
    pub(crate) fn depth(&self) -> usize {
        self.queue.len() + self.deferred.len()
    }

    /// Whether a message that comes now would be delivered at once.
    pub(crate) fn is_hungry(&self) -> bool {
        !self.paused && self.queue.is_empty() && !self.rotation.is_empty()
    }

    pub(crate) fn subscribers(&self) -> usize {
        self.subscribers.len()
    }

    /// A time at or before the one when [`expire`](Self::expire) has something to do; `None` for never.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        match (self.in_flight.earliest(), self.deferred.earliest()) {
            (Some(timeout), Some(due)) => Some(timeout.min(due)),
            (timeout, due) => timeout.or(due),
        }
    }

    /// Takes a message in.
    pub(crate) fn publish(&mut self, message: Message, now: Instant, touched: &mut O::Touched) {
        self.counts.messages += 1;
        let left = if self.queue.is_empty() && !self.paused {
            self.deliver(message, now, touched)
        } else {
            Some(message)
        };
        if let Some(message) = left {
            self.queue.push(message);
        }
    }

    /// Takes a message in that may be delivered from `due` on.
    pub(crate) fn defer(&mut self, message: Message, due: Instant) {
        self.counts.messages += 1;
        self.deferred.push(message, due);
    }

    /// Adds a subscriber. It gets nothing before it is [`ready`](Self::ready).
    pub(crate) fn subscribe(&mut self, id: SubscriberId, subscriber: Subscriber<O>) {
        self.subscribers.insert(id, subscriber);
    }

    /// Removes a subscriber. What it had in flight goes to others at once; nsqd lets it time out, and it counts as
    /// that.
    pub(crate) fn unsubscribe(&mut self, id: SubscriberId, now: Instant, touched: &mut O::Touched) {
        let Some(subscriber) = self.subscribers.remove(&id) else {
            return;
        };
        if subscriber.is_listed() {
            self.rotation.retain(|listed| *listed != id);
        }
        for message in self.in_flight.remove_all_of(id) {
            self.counts.timed_out += 1;
            self.queue.push(message);
        }
        self.dispatch(now, touched);
    }

    /// Says how many messages a subscriber may have in flight.
    pub(crate) fn ready(&mut self, id: SubscriberId, count: u64, now: Instant, touched: &mut O::Touched) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.set_ready(count);
            self.list(id);
            self.dispatch(now, touched);
        }
    }

    /// Ends deliveries to a subscriber for good; it may still answer what it has.
    pub(crate) fn close(&mut self, id: SubscriberId) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.close();
        }
    }

    /// Ends deliveries to all subscribers for good; they may still answer what they have.
    pub(crate) fn close_all(&mut self) {
        self.subscribers.values_mut().for_each(Subscriber::close);
    }

    /// Takes all messages out, each with the time for which it is still deferred: first those that were delivered and
    /// not answered, then those that wait, then those that are deferred.
    pub(crate) fn take_messages(
        &mut self,
        now: Instant,
    ) -> impl Iterator<Item = (Message, Duration)> + use<O> {
        let waiting = self.in_flight.take_all().into_iter().chain(self.queue.take_all());
        let deferred = self.deferred.take_all();
        waiting
            .map(|message| (message, Duration::ZERO))
            .chain(deferred.map(move |(message, due)| (message, due.saturating_duration_since(now))))
    }

    /// Goes on with a subscriber whose outlet was [full](Offer::Full) and has room again.
    pub(crate) fn resume(&mut self, id: SubscriberId, now: Instant, touched: &mut O::Touched) {
        self.list(id);
        self.dispatch(now, touched);
    }

    /// FIN: the message is done. Gives the time when it was published, in nanoseconds since 1970.
    pub(crate) fn finish(
        &mut self,
        id: SubscriberId,
        message: &MessageId,
        now: Instant,
        touched: &mut O::Touched,
    ) -> Result<i64, NotInFlight> {
        let published = self.in_flight.remove(message, id)?.timestamp;
        self.counts.finished += 1;
        self.answered(id, Subscriber::finished);
        self.dispatch(now, touched);
        Ok(published)
    }

    /// Notes that a message, [finished](Self::finish) at `now`, had taken `nanos` since it was published.
    #[cfg(feature = "http")]
    pub(crate) fn took(&mut self, nanos: i64, now: Instant) {
        if let Some(latency) = &mut self.latency {
            // A clock that was set back in between makes it less than nothing.
            latency.add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)), now);
        }
    }

    /// REQ: the message shall be delivered again, after `delay`.
    pub(crate) fn requeue(
        &mut self,
        id: SubscriberId,
        message: &MessageId,
        delay: Duration,
        now: Instant,
        touched: &mut O::Touched,
    ) -> Result<(), NotInFlight> {
        let message = self.in_flight.remove(message, id)?;
        self.counts.requeued += 1;
        self.answered(id, Subscriber::requeued);
        if delay.is_zero() {
            self.queue.push(message);
        } else {
            self.deferred.push(message, after(now, delay));
        }
        self.dispatch(now, touched);
        Ok(())
    }

    /// TOUCH: the message's timeout starts anew, up to the longest since its delivery.
    pub(crate) fn touch(
        &mut self,
        id: SubscriberId,
        message: &MessageId,
        now: Instant,
    ) -> Result<(), NotInFlight> {
        let timeout = self
            .subscribers
            .get(&id)
            .map(Subscriber::message_timeout)
            .ok_or(NotInFlight::Unknown)?;
        self.in_flight
            .touch(message, id, now, timeout, self.max_message_timeout)
    }

    /// Queues again what timed out, and what was deferred until now.
    pub(crate) fn expire(&mut self, now: Instant, touched: &mut O::Touched) {
        while let Some((message, owner)) = self.in_flight.pop_expired(now) {
            self.counts.timed_out += 1;
            self.answered(owner, Subscriber::timed_out);
            self.queue.push(message);
        }
        while let Some(message) = self.deferred.pop_due(now) {
            self.queue.push(message);
        }
        self.dispatch(now, touched);
    }

    /// Notes that a subscriber has one message less in flight.
    fn answered(&mut self, id: SubscriberId, how: fn(&mut Subscriber<O>)) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            how(subscriber);
            self.list(id);
        }
    }

    /// Puts a subscriber that wants messages at the end of the rotation, unless it is there.
    fn list(&mut self, id: SubscriberId) {
        if let Some(subscriber) = self.subscribers.get_mut(&id)
            && subscriber.list()
        {
            self.rotation.push_back(id);
        }
    }

    /// Delivers what can be delivered.
    fn dispatch(&mut self, now: Instant, touched: &mut O::Touched) {
        while !self.paused && !self.rotation.is_empty() {
            let Some(message) = self.queue.pop() else {
                return;
            };
            if let Some(message) = self.deliver(message, now, touched) {
                self.queue.put_back(message);
            }
        }
    }

    /// Hands a message to the next subscriber that takes it; gives it back when nobody does.
    fn deliver(&mut self, mut message: Message, now: Instant, touched: &mut O::Touched) -> Option<Message> {
        while let Some(id) = self.rotation.pop_front() {
            let Some(subscriber) = self.subscribers.get_mut(&id) else {
                continue;
            };
            if !subscriber.take_turn() {
                continue;
            }
            let earlier_attempts = message.attempts;
            message.attempts = earlier_attempts.saturating_add(1);
            let frame = Frame::Message(message);
            let offer = subscriber.offer(&frame, touched);
            // The message was only lent to the frame, to be encoded without a copy of its body.
            let Frame::Message(returned) = frame else {
                return None;
            };
            message = returned;
            match offer {
                Offer::Taken => {
                    self.counts.delivered += 1;
                    self.counts.delivered_bytes += message.body.len() as u64;
                    let timeout = subscriber.message_timeout();
                    self.in_flight.insert(message, id, now, timeout);
                    self.list(id);
                    return None;
                }
                Offer::Skipped => {
                    self.list(id);
                    return None;
                }
                Offer::Full => message.attempts = earlier_attempts,
            }
        }
        Some(message)
    }
}

/// `delay` from `now`, or a time that never comes when the clock does not go that far.
pub(crate) fn after(now: Instant, delay: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    now.checked_add(delay).unwrap_or_else(|| now + FAR)
}
