//! What a broker should do, as simply as it can be said.

use std::collections::BTreeMap;

use super::operation::{Act, Answer, CLIENTS};

/// How long a client of this number has for each message.
pub(super) fn timeout(client: usize) -> u64 {
    if client.is_multiple_of(2) { 10_000 } else { 3000 }
}

pub(super) const MAX_TIMEOUT: u64 = 12_000;
const ORPHAN_TIMEOUT: u64 = 60_000;

/// What a client hears of its command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Nothing,
    Response(&'static str),
    Error(&'static str),
    /// An error, and the end of the connection.
    Fatal(&'static str),
}

/// Topics, channels and clients; times in milliseconds.
#[derive(Debug)]
pub(super) struct Reference {
    now: u64,
    pub(super) topics: BTreeMap<&'static str, Topic>,
    clients: [Client; CLIENTS],
}

#[derive(Debug, Default)]
pub(super) struct Topic {
    pub(super) is_paused: bool,
    /// In no channel yet, with the time when each is due.
    pub(super) unclaimed: BTreeMap<u64, u64>,
    pub(super) channels: BTreeMap<&'static str, Channel>,
    last_publish: u64,
}

#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) is_paused: bool,
    messages: BTreeMap<u64, Message>,
}

#[derive(Debug)]
struct Message {
    place: Place,
    attempts: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Until that time.
    Waiting(u64),
    InFlight {
        client: usize,
        delivered: u64,
        deadline: u64,
    },
}

#[derive(Debug, Default)]
struct Client {
    subscribed: Option<(&'static str, &'static str)>,
    ready: u64,
    is_closing: bool,
}

impl Reference {
    pub(super) fn new() -> Self {
        Self {
            now: 0,
            topics: BTreeMap::new(),
            clients: Default::default(),
        }
    }

    pub(super) fn publish(&mut self, topic: &'static str, numbers: &[u64], delay: u64) -> Reply {
        let (now, due) = (self.now, self.now + delay);
        let topic = self.topics.entry(topic).or_default();
        topic.last_publish = now;
        topic
            .unclaimed
            .extend(numbers.iter().map(|number| (*number, due)));
        topic.let_go(now);
        Reply::Response("OK")
    }

    pub(super) fn subscribe(&mut self, client: usize, topic: &'static str, channel: &'static str) -> Reply {
        if self.clients[client].subscribed.is_some() {
            return Reply::Fatal("E_INVALID cannot SUB in current state");
        }
        self.create(topic, Some(channel));
        self.clients[client].subscribed = Some((topic, channel));
        Reply::Response("OK")
    }

    pub(super) fn ready(&mut self, client: usize, count: u64) -> Reply {
        let client = &mut self.clients[client];
        match client.subscribed {
            None => Reply::Fatal("E_INVALID cannot RDY in current state"),
            Some(_) if client.is_closing => Reply::Nothing,
            Some(_) => {
                client.ready = count;
                Reply::Nothing
            }
        }
    }

    pub(super) fn close(&mut self, client: usize) -> Reply {
        let client = &mut self.clients[client];
        if client.subscribed.is_none() || client.is_closing {
            return Reply::Fatal("E_INVALID cannot CLS in current state");
        }
        client.is_closing = true;
        Reply::Response("CLOSE_WAIT")
    }

    /// `None` is a message that there never was.
    pub(super) fn answer(&mut self, client: usize, number: Option<u64>, answer: Answer) -> Reply {
        let now = self.now;
        let Some((topic, channel)) = self.clients[client].subscribed else {
            return Reply::Fatal(match answer {
                Answer::Finish => "E_INVALID cannot FIN in current state",
                Answer::Requeue { .. } => "E_INVALID cannot REQ in current state",
                Answer::Touch => "E_INVALID cannot TOUCH in current state",
            });
        };
        let channel = self.channel(topic, channel);
        let message = number.and_then(|number| channel.messages.get_mut(&number));
        let Some((message, (owner, delivered))) = message.and_then(|message| match message.place {
            Place::InFlight {
                client, delivered, ..
            } => Some((message, (client, delivered))),
            Place::Waiting(_) => None,
        }) else {
            return Reply::Error("ID not in flight");
        };
        if owner != client {
            return Reply::Error("client does not own message");
        }
        match answer {
            Answer::Finish => {
                number.and_then(|number| channel.messages.remove(&number));
            }
            Answer::Requeue { delay } => message.place = Place::Waiting(now + delay),
            Answer::Touch => {
                let deadline = (now + timeout(client)).min(delivered + MAX_TIMEOUT);
                message.place = Place::InFlight {
                    client,
                    delivered,
                    deadline,
                };
            }
        }
        Reply::Nothing
    }

    /// A client is gone; another has its number.
    pub(super) fn leave(&mut self, client: usize) {
        let Some((name, channel_name)) = std::mem::take(&mut self.clients[client]).subscribed else {
            return;
        };
        let now = self.now;
        // Its channel may have been deleted, which is why it is gone.
        let Some(topic) = self.topics.get_mut(name) else {
            return;
        };
        let Some(channel) = topic.channels.get_mut(channel_name) else {
            return;
        };
        for message in channel.messages.values_mut() {
            if matches!(message.place, Place::InFlight { client: owner, .. } if owner == client) {
                message.place = Place::Waiting(now);
            }
        }
        if is_ephemeral(channel_name) && self.subscribers(name, channel_name).is_empty() {
            self.delete(name, Some(channel_name));
        }
    }

    pub(super) fn operate(&mut self, topic: &'static str, channel: Option<&'static str>, act: Act) {
        let now = self.now;
        match (act, channel) {
            (Act::Create, Some(_)) => self.create(topic, channel),
            // An ephemeral topic that nobody publishes to is another story.
            (Act::Create, None) => {}
            (Act::Delete, _) => self.delete(topic, channel),
            (act, None) => {
                let Some(topic) = self.topics.get_mut(topic) else {
                    return;
                };
                match act {
                    Act::Empty => topic.unclaimed.clear(),
                    act => topic.is_paused = act == Act::Pause,
                }
                topic.let_go(now);
            }
            (act, Some(channel)) => {
                let topic = self.topics.get_mut(topic);
                let Some(channel) = topic.and_then(|topic| topic.channels.get_mut(channel)) else {
                    return;
                };
                match act {
                    Act::Empty => channel.messages.clear(),
                    act => channel.is_paused = act == Act::Pause,
                }
            }
        }
    }

    pub(super) fn pass(&mut self, time: u64) {
        self.now += time;
        let now = self.now;
        self.topics.retain(|name, topic| {
            !(is_ephemeral(name) && topic.channels.is_empty() && topic.last_publish + ORPHAN_TIMEOUT <= now)
        });
        for channel in self
            .topics
            .values_mut()
            .flat_map(|topic| topic.channels.values_mut())
        {
            for message in channel.messages.values_mut() {
                if matches!(message.place, Place::InFlight { deadline, .. } if deadline <= now) {
                    message.place = Place::Waiting(now);
                }
            }
        }
    }

    /// A client got a message.
    pub(super) fn delivered(&mut self, client: usize, number: u64, attempts: u16) {
        let now = self.now;
        let Client {
            subscribed,
            ready,
            is_closing,
        } = self.clients[client];
        let (topic, channel) = subscribed.expect("a client without a subscription got a message");
        assert!(!is_closing, "client {client} got a message behind its CLS");
        let held = self.in_flight_of(client);
        assert!(held < ready, "client {client} has {held} of {ready} and got more");
        let channel = self.channel(topic, channel);
        assert!(!channel.is_paused, "a paused channel delivered");
        let message = channel
            .messages
            .get_mut(&number)
            .unwrap_or_else(|| panic!("message {number} is not in the channel"));
        assert!(
            matches!(message.place, Place::Waiting(until) if until <= now),
            "message {number} was delivered when it was {:?} at {now}",
            message.place
        );
        message.attempts += 1;
        assert_eq!(message.attempts, attempts, "attempts of message {number}");
        message.place = Place::InFlight {
            client,
            delivered: now,
            deadline: now + timeout(client),
        };
    }

    /// Nothing waits that somebody is ready for.
    pub(super) fn check_nothing_is_left(&self) {
        for (topic_name, topic) in &self.topics {
            for (name, channel) in &topic.channels {
                let [waiting, ..] = channel.counts(self.now);
                let hungry = self.subscribers(topic_name, name).into_iter().find(|client| {
                    let Client {
                        ready, is_closing, ..
                    } = self.clients[*client];
                    !is_closing && self.in_flight_of(*client) < ready
                });
                assert!(
                    channel.is_paused || waiting == 0 || hungry.is_none(),
                    "{waiting} messages wait in {topic_name}/{name} although client {hungry:?} is ready"
                );
            }
        }
    }

    pub(super) fn subscribers(&self, topic: &str, channel: &str) -> Vec<usize> {
        (0..CLIENTS)
            .filter(|client| self.clients[*client].subscribed == Some((topic, channel)))
            .collect()
    }

    fn create(&mut self, topic: &'static str, channel: Option<&'static str>) {
        let now = self.now;
        let topic = self.topics.entry(topic).or_default();
        if let Some(channel) = channel {
            topic.channels.entry(channel).or_default();
            topic.let_go(now);
        }
    }

    fn delete(&mut self, name: &'static str, channel: Option<&'static str>) {
        let Some(channel) = channel else {
            self.topics.remove(name);
            return;
        };
        let Some(topic) = self.topics.get_mut(name) else {
            return;
        };
        let was_there = topic.channels.remove(channel).is_some();
        if was_there && topic.channels.is_empty() && is_ephemeral(name) {
            self.topics.remove(name);
        }
    }

    fn channel(&mut self, topic: &str, channel: &str) -> &mut Channel {
        let topic = self.topics.get_mut(topic).expect("a subscriber's topic");
        topic.channels.get_mut(channel).expect("a subscriber's channel")
    }

    fn in_flight_of(&self, client: usize) -> u64 {
        let channels = self.topics.values().flat_map(|topic| topic.channels.values());
        let messages = channels.flat_map(|channel| channel.messages.values());
        messages
            .filter(
                |message| matches!(message.place, Place::InFlight { client: owner, .. } if owner == client),
            )
            .count() as u64
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }
}

impl Topic {
    /// Gives each channel what has waited, unless there is none or the topic is paused.
    fn let_go(&mut self, now: u64) {
        if self.is_paused || self.channels.is_empty() {
            return;
        }
        for (number, due) in std::mem::take(&mut self.unclaimed) {
            for channel in self.channels.values_mut() {
                let place = Place::Waiting(due.max(now));
                let attempts = 0;
                channel.messages.insert(number, Message { place, attempts });
            }
        }
    }
}

impl Channel {
    /// How many messages wait, are deferred and are in flight.
    pub(super) fn counts(&self, now: u64) -> [usize; 3] {
        let mut counts = [0; 3];
        for message in self.messages.values() {
            let which = match message.place {
                Place::Waiting(until) if until <= now => 0,
                Place::Waiting(_) => 1,
                Place::InFlight { .. } => 2,
            };
            counts[which] += 1;
        }
        counts
    }
}

pub(super) fn is_ephemeral(name: &str) -> bool {
    name.ends_with("#ephemeral")
}
