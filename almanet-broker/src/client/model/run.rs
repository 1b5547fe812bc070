//! A broker without sockets and without a clock, beside its reference.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use almanet_nsq_proto::{ChannelName, Command, Frame, MessageId, TopicName};
use bytes::Bytes;

use super::{
    connected::{Client, refusal, text},
    operation::{Act, Answer, CHANNELS, CLIENTS, Operation, TOPICS},
    reference::{MAX_TIMEOUT, Reference, Reply, timeout},
};
use crate::{
    BrokerConfig, channel::SubscriberId, client::output::Touched, registry::Registry, step::Step, timer,
    topic::NoSuchChannel,
};

pub(super) struct Run {
    config: Arc<BrokerConfig>,
    registry: Arc<Registry>,
    start: Instant,
    clients: Vec<Client>,
    next_client: u64,
    next_message: u64,
    /// Of what was delivered, by the number that is its body.
    ids: Vec<(u64, MessageId)>,
    reference: Reference,
}

impl Run {
    pub(super) fn new() -> Self {
        let config = BrokerConfig::default()
            .message_timeout(Duration::from_millis(timeout(0)))
            .max_message_timeout(Duration::from_millis(MAX_TIMEOUT));
        let mut run = Self {
            registry: Arc::new(Registry::new(&config)),
            config: Arc::new(config),
            start: Instant::now(),
            clients: Vec::new(),
            next_client: 0,
            next_message: 0,
            ids: Vec::new(),
            reference: Reference::new(),
        };
        for client in 0..CLIENTS {
            let new = run.connect(client);
            run.clients.push(new);
        }
        run
    }

    pub(super) fn apply(&mut self, operation: &Operation) {
        let (actor, expected) = match *operation {
            Operation::Publish {
                client,
                topic,
                messages,
            } => {
                let bodies = self.bodies(messages);
                let command = match &bodies[..] {
                    [body] => Command::Pub {
                        topic: topic_name(topic),
                        body: body.clone(),
                    },
                    _ => Command::Mpub {
                        topic: topic_name(topic),
                        bodies,
                    },
                };
                let numbers: Vec<_> = (self.next_message - messages..self.next_message).collect();
                let reply = self.reference.publish(TOPICS[topic], &numbers, 0);
                (Some(client), self.command(client, &command, reply))
            }
            Operation::Defer { client, topic, delay } => {
                let body = self.bodies(1).remove(0);
                let command = Command::Dpub {
                    topic: topic_name(topic),
                    delay: Duration::from_millis(delay),
                    body,
                };
                let reply = self
                    .reference
                    .publish(TOPICS[topic], &[self.next_message - 1], delay);
                (Some(client), self.command(client, &command, reply))
            }
            Operation::Subscribe {
                client,
                topic,
                channel,
            } => {
                let command = Command::Sub {
                    topic: topic_name(topic),
                    channel: channel_name(channel),
                };
                let reply = self.reference.subscribe(client, TOPICS[topic], CHANNELS[channel]);
                (Some(client), self.command(client, &command, reply))
            }
            Operation::Ready { client, count } => {
                let reply = self.reference.ready(client, count);
                (Some(client), self.command(client, &Command::Rdy(count), reply))
            }
            Operation::Answer {
                client,
                message,
                answer,
            } => {
                let known = self.ids.get(message % (self.ids.len() + 1)).copied();
                let id = known.map_or(MessageId::from_number(0), |(_, id)| id);
                let command = match answer {
                    Answer::Finish => Command::Fin(id),
                    Answer::Touch => Command::Touch(id),
                    Answer::Requeue { delay } => Command::Req {
                        id,
                        delay: Duration::from_millis(delay),
                    },
                };
                let reply = self
                    .reference
                    .answer(client, known.map(|(number, _)| number), answer);
                (Some(client), self.command(client, &command, reply))
            }
            Operation::Close { client } => {
                let reply = self.reference.close(client);
                (Some(client), self.command(client, &Command::Cls, reply))
            }
            Operation::Disconnect { client } => {
                self.reference.leave(client);
                self.leave(client);
                (None, Vec::new())
            }
            Operation::Operate { topic, channel, act } => {
                self.operate(topic, channel, act);
                (None, Vec::new())
            }
            Operation::Pass { time } => {
                self.reference.pass(time);
                (None, Vec::new())
            }
        };
        self.ring();
        self.deliver(actor, &expected);
        self.check();
    }

    /// Deletes everything: nothing counts as memory afterwards.
    pub(super) fn end(mut self) {
        for topic in 0..TOPICS.len() {
            self.operate(topic, None, Act::Delete);
        }
        self.check();
        drop(self.clients);
        assert_eq!(self.registry.memory().used(), 0);
    }

    /// Has a client say this, and gives the frames that it should hear.
    fn command(&mut self, client: usize, command: &Command, reply: Reply) -> Vec<(i32, String)> {
        let mut step = self.step();
        let is_over = self.clients[client].say(command, &mut step);
        step.end();
        let (code, is_fatal) = match reply {
            Reply::Nothing => (None, false),
            Reply::Response(text) => (Some((0, text.to_owned())), false),
            Reply::Error(reason) => (Some((1, refusal(command, reason))), false),
            Reply::Fatal(text) => (Some((1, text.to_owned())), true),
        };
        assert_eq!(is_over, is_fatal, "{command:?}");
        if is_fatal {
            // What was written is read before the connection ends.
            let frames = self.clients[client].hear();
            assert_eq!(frames.len(), 1, "{frames:?}");
            assert_eq!(text(&frames[0]), code.unwrap_or_default());
            self.reference.leave(client);
            self.leave(client);
            return Vec::new();
        }
        code.into_iter().collect()
    }

    /// The end of a connection, and a new one in its place.
    fn leave(&mut self, client: usize) {
        let mut step = self.step();
        self.clients[client].leave(&self.registry, &mut step);
        step.end();
        self.clients[client] = self.connect(client);
    }

    fn connect(&mut self, client: usize) -> Client {
        self.next_client += 1;
        let id = SubscriberId(self.next_client);
        let mut step = self.step();
        let client = Client::connect(id, timeout(client), &self.config, &self.registry, &mut step);
        step.end();
        assert_eq!(
            client.hear().iter().map(text).collect::<Vec<_>>(),
            [(0, "OK".to_owned())]
        );
        client
    }

    /// As `http` does it.
    fn operate(&mut self, topic: usize, channel: Option<usize>, act: Act) {
        let names = (TOPICS[topic], channel.map(|channel| CHANNELS[channel]));
        let ended: Vec<_> = match act {
            Act::Delete => (0..CHANNELS.len())
                .filter(|other| channel.is_none_or(|channel| channel == *other))
                .flat_map(|channel| self.reference.subscribers(TOPICS[topic], CHANNELS[channel]))
                .collect(),
            _ => Vec::new(),
        };
        self.reference.operate(names.0, names.1, act);
        let topic = topic_name(topic);
        let mut step = self.step();
        let known = self.registry.existing(&topic);
        // What is not there is left as it is.
        let _: Result<(), NoSuchChannel> = match (act, channel.map(channel_name), known) {
            (Act::Create, Some(channel), _) => {
                let topic = self.registry.topic(&topic).unwrap();
                topic.create_channel(&channel).unwrap();
                Ok(())
            }
            (Act::Delete, None, _) => {
                self.registry.delete(&topic);
                Ok(())
            }
            (Act::Create, None, _) | (_, _, None) => Ok(()),
            (Act::Pause, None, Some(topic)) => {
                topic.pause();
                Ok(())
            }
            (Act::Unpause, None, Some(topic)) => {
                topic.unpause(&mut step);
                Ok(())
            }
            (Act::Empty, None, Some(topic)) => {
                topic.empty();
                Ok(())
            }
            (Act::Pause, Some(channel), Some(topic)) => topic.pause_channel(&channel),
            (Act::Unpause, Some(channel), Some(topic)) => topic.unpause_channel(&channel, &mut step),
            (Act::Empty, Some(channel), Some(topic)) => topic.empty_channel(&channel),
            (Act::Delete, Some(channel), Some(topic)) => topic.delete_channel(&channel).map(|fate| {
                if fate.is_gone() {
                    self.registry.forget(&topic);
                }
            }),
        };
        step.end();
        for (number, client) in self.clients.iter().enumerate() {
            let is_ended = client.is_ended();
            assert_eq!(is_ended, ended.contains(&number), "client {number}");
        }
        for client in ended {
            self.reference.leave(client);
            self.leave(client);
        }
    }

    /// Rings what is due.
    fn ring(&mut self) {
        loop {
            let mut step = self.step();
            let now = step.now;
            let next = timer::ring(&self.registry, &mut step);
            step.end();
            // What is set while it rings may be due already.
            if next.is_none_or(|next| next > now)
                && self.registry.timer().next().is_none_or(|next| next > now)
            {
                return;
            }
        }
    }

    /// Reads what every client has got, and lets the reference judge it.
    fn deliver(&mut self, actor: Option<usize>, expected: &[(i32, String)]) {
        for client in 0..CLIENTS {
            let mut answers = Vec::new();
            for frame in self.clients[client].hear() {
                let Frame::Message(message) = &frame else {
                    answers.push(text(&frame));
                    continue;
                };
                let number = u64::from_be_bytes(*message.body.first_chunk().unwrap());
                match self.ids.iter().find(|(known, _)| *known == number) {
                    Some((_, id)) => assert_eq!(*id, message.id, "message {number}"),
                    None => self.ids.push((number, message.id)),
                }
                self.reference.delivered(client, number, message.attempts);
            }
            let expected = if actor == Some(client) { expected } else { &[] };
            assert_eq!(answers, expected, "what client {client} hears");
        }
    }

    fn check(&self) {
        self.reference.check_nothing_is_left();
        let reports = self.registry.reports();
        let names: Vec<_> = reports.iter().map(|topic| topic.name.as_str()).collect();
        let expected: Vec<_> = self.reference.topics.keys().copied().collect();
        assert_eq!(names, expected);
        for (report, (name, topic)) in reports.iter().zip(&self.reference.topics) {
            assert_eq!(report.is_paused, topic.is_paused, "{name}");
            assert_eq!(report.depth, topic.unclaimed.len(), "{name}");
            let names: Vec<_> = report.channels.iter().map(|named| named.name.as_str()).collect();
            assert_eq!(names, topic.channels.keys().copied().collect::<Vec<_>>());
            for (named, (channel_name, channel)) in report.channels.iter().zip(&topic.channels) {
                let report = &named.channel;
                let counts = [report.depth, report.deferred, report.in_flight];
                assert_eq!(
                    counts,
                    channel.counts(self.reference.now()),
                    "{name}/{channel_name}"
                );
                assert_eq!(report.is_paused, channel.is_paused);
                let subscribers = self.reference.subscribers(name, channel_name);
                assert_eq!(report.subscribers.len(), subscribers.len());
            }
        }
    }

    fn bodies(&mut self, count: u64) -> Vec<Bytes> {
        let first = self.next_message;
        self.next_message += count;
        (first..self.next_message)
            .map(|number| Bytes::copy_from_slice(&number.to_be_bytes()))
            .collect()
    }

    fn step(&self) -> Step {
        Step {
            now: self.start + Duration::from_millis(self.reference.now()),
            timestamp: 0,
            touched: Touched::default(),
        }
    }
}

fn topic_name(topic: usize) -> TopicName {
    TopicName::new(TOPICS[topic]).unwrap()
}

fn channel_name(channel: usize) -> ChannelName {
    ChannelName::new(CHANNELS[channel]).unwrap()
}
