//! Topics and channels, without tasks and without a clock: whoever looks says what time it is.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::transport::{ChannelName, TopicName};

/// All topics.
#[derive(Debug, Default)]
pub(super) struct Topics {
    topics: HashMap<TopicName, Topic>,
    last_id: u64,
}

#[derive(Debug, Default)]
struct Topic {
    /// What was published before there was a channel.
    backlog: Vec<Message>,
    channels: HashMap<ChannelName, Channel>,
}

#[derive(Debug, Default)]
struct Channel {
    /// In the order in which they can be had.
    waiting: VecDeque<Message>,
    in_flight: BTreeMap<u64, (Message, Instant)>,
    subscribers: usize,
    wakers: Vec<Waker>,
}

/// A message, as a channel has it.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: u64,
    pub(super) body: Bytes,
    pub(super) published: Instant,
    pub(super) attempts: u16,
    /// Not to be had before.
    due: Instant,
}

/// One delivery of a message. Whoever had an earlier one cannot answer this one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) id: u64,
    pub(super) attempt: u16,
}

/// What a subscriber gets when it asks.
pub(super) enum Next {
    Message(Message),
    /// Nothing before then.
    Later(Instant),
    /// Nothing until somebody publishes; the waker will be woken.
    Never,
}

impl Topics {
    /// The topics that there are.
    pub(super) fn names(&self) -> BTreeSet<TopicName> {
        self.topics.keys().cloned().collect()
    }

    /// Whether anybody is subscribed to the topic.
    pub(super) fn is_read(&self, name: &TopicName) -> bool {
        let topic = self.topics.get(name);
        topic.is_some_and(|topic| topic.channels.values().any(|channel| channel.subscribers > 0))
    }

    pub(super) fn publish(
        &mut self,
        name: &TopicName,
        bodies: impl IntoIterator<Item = Bytes>,
        delay: Duration,
        now: Instant,
    ) {
        let topic = self.topics.entry(name.clone()).or_default();
        for body in bodies {
            self.last_id += 1;
            let message = Message {
                id: self.last_id,
                body,
                published: now,
                attempts: 0,
                due: after(now, delay),
            };
            if topic.channels.is_empty() {
                topic.backlog.push(message.clone());
            }
            for channel in topic.channels.values_mut() {
                channel.waiting.push_back(message.clone());
                channel.wake();
            }
        }
    }

    pub(super) fn subscribe(&mut self, topic: &TopicName, name: &ChannelName) {
        let topic = self.topics.entry(topic.clone()).or_default();
        let backlog = std::mem::take(&mut topic.backlog);
        let channel = topic.channels.entry(name.clone()).or_default();
        channel.waiting.extend(backlog);
        channel.subscribers += 1;
    }

    /// Takes a subscriber away. What is ephemeral goes with the last one.
    pub(super) fn unsubscribe(&mut self, topic_name: &TopicName, name: &ChannelName) {
        let Some(topic) = self.topics.get_mut(topic_name) else {
            return;
        };
        let Some(channel) = topic.channels.get_mut(name) else {
            return;
        };
        channel.subscribers = channel.subscribers.saturating_sub(1);
        channel.wake();
        if channel.subscribers == 0 && name.is_ephemeral() {
            topic.channels.remove(name);
            if topic.channels.is_empty() && topic_name.is_ephemeral() {
                self.topics.remove(topic_name);
            }
        }
    }

    /// The next message of the channel that can be had, which is in flight for `timeout` from then on.
    pub(super) fn next(
        &mut self,
        topic: &TopicName,
        name: &ChannelName,
        now: Instant,
        timeout: Duration,
        waker: &Waker,
    ) -> Next {
        let Some(channel) = self.channel(topic, name) else {
            return Next::Never;
        };
        channel.take_back_expired(now);
        let due = channel.waiting.iter().position(|message| message.due <= now);
        if let Some(mut message) = due.and_then(|position| channel.waiting.remove(position)) {
            message.attempts = message.attempts.saturating_add(1);
            channel
                .in_flight
                .insert(message.id, (message.clone(), after(now, timeout)));
            return Next::Message(message);
        }
        if !channel.wakers.iter().any(|known| known.will_wake(waker)) {
            channel.wakers.push(waker.clone());
        }
        let due = channel.waiting.iter().map(|message| message.due);
        let expiring = channel.in_flight.values().map(|(_, expires)| *expires);
        due.chain(expiring).min().map_or(Next::Never, Next::Later)
    }

    /// Ends a run of a message; `false` when the message has come back meanwhile.
    pub(super) fn finish(&mut self, topic: &TopicName, name: &ChannelName, run: Run) -> bool {
        self.channel(topic, name)
            .and_then(|channel| channel.take(run))
            .is_some()
    }

    /// Gives a message back, to be had again at `due`; `false` when it has come back meanwhile.
    pub(super) fn requeue(&mut self, topic: &TopicName, name: &ChannelName, run: Run, due: Instant) -> bool {
        let Some(channel) = self.channel(topic, name) else {
            return false;
        };
        let Some(message) = channel.take(run) else {
            return false;
        };
        channel.waiting.push_back(Message { due, ..message });
        channel.wake();
        true
    }

    /// Lets a message stay in flight until `expires`; `false` when it has come back meanwhile.
    pub(super) fn touch(
        &mut self,
        topic: &TopicName,
        name: &ChannelName,
        run: Run,
        expires: Instant,
    ) -> bool {
        let Some(channel) = self.channel(topic, name) else {
            return false;
        };
        match channel.in_flight.get_mut(&run.id) {
            Some((message, until)) if message.attempts == run.attempt => {
                *until = expires;
                true
            }
            _ => false,
        }
    }

    fn channel(&mut self, topic: &TopicName, name: &ChannelName) -> Option<&mut Channel> {
        self.topics.get_mut(topic)?.channels.get_mut(name)
    }
}

impl Channel {
    /// Takes a message out of flight, if this is the run of it.
    fn take(&mut self, run: Run) -> Option<Message> {
        let (message, _) = self.in_flight.get(&run.id)?;
        if message.attempts != run.attempt {
            return None;
        }
        self.in_flight.remove(&run.id).map(|(message, _)| message)
    }

    fn take_back_expired(&mut self, now: Instant) {
        let waiting = &mut self.waiting;
        self.in_flight.retain(|_, (message, expires)| {
            let stays = *expires > now;
            if !stays {
                waiting.push_back(message.clone());
            }
            stays
        });
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// When `delay` has passed; one that is too long to be counted is a year.
pub(super) fn after(now: Instant, delay: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    now.checked_add(delay).unwrap_or_else(|| now + YEAR)
}
