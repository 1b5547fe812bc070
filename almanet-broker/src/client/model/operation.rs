//! What can happen.

use proptest::prelude::*;

pub(super) const CLIENTS: usize = 4;
pub(super) const TOPICS: [&str; 2] = ["kept", "passing#ephemeral"];
pub(super) const CHANNELS: [&str; 2] = ["all", "some#ephemeral"];

/// A client, a topic and a channel are numbers in the lists above; times are milliseconds.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Publish {
        client: usize,
        topic: usize,
        messages: u64,
    },
    Defer {
        client: usize,
        topic: usize,
        delay: u64,
    },
    Subscribe {
        client: usize,
        topic: usize,
        channel: usize,
    },
    Ready {
        client: usize,
        count: u64,
    },
    Answer {
        client: usize,
        /// Counted among the messages that were ever delivered.
        message: usize,
        answer: Answer,
    },
    Close {
        client: usize,
    },
    Disconnect {
        client: usize,
    },
    Operate {
        topic: usize,
        /// `None` for the topic itself.
        channel: Option<usize>,
        act: Act,
    },
    Pass {
        time: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Finish,
    Requeue { delay: u64 },
    Touch,
}

/// What an operator does to a topic or a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Create,
    Pause,
    Unpause,
    Empty,
    Delete,
}

pub(super) fn operation() -> impl Strategy<Value = Operation> {
    let client = || 0..CLIENTS;
    let topic = || 0..TOPICS.len();
    let channel = || 0..CHANNELS.len();
    // Multiples, so that things happen at the same time.
    let time = |most: u64| (0..=most).prop_map(|halves| halves * 500);
    let answer = prop_oneof![
        4 => Just(Answer::Finish),
        2 => time(6).prop_map(|delay| Answer::Requeue { delay }),
        2 => Just(Answer::Touch),
    ];
    let act = prop_oneof![
        2 => Just(Act::Create),
        2 => Just(Act::Pause),
        4 => Just(Act::Unpause),
        1 => Just(Act::Empty),
        1 => Just(Act::Delete),
    ];
    prop_oneof![
        6 => (client(), topic(), 1..4u64)
            .prop_map(|(client, topic, messages)| Operation::Publish { client, topic, messages }),
        2 => (client(), topic(), time(20))
            .prop_map(|(client, topic, delay)| Operation::Defer { client, topic, delay }),
        5 => (client(), topic(), channel())
            .prop_map(|(client, topic, channel)| Operation::Subscribe { client, topic, channel }),
        6 => (client(), 0..4u64).prop_map(|(client, count)| Operation::Ready { client, count }),
        12 => (client(), 0..1000usize, answer)
            .prop_map(|(client, message, answer)| Operation::Answer { client, message, answer }),
        1 => client().prop_map(|client| Operation::Close { client }),
        1 => client().prop_map(|client| Operation::Disconnect { client }),
        3 => (topic(), proptest::option::of(channel()), act)
            .prop_map(|(topic, channel, act)| Operation::Operate { topic, channel, act }),
        4 => time(10).prop_map(|time| Operation::Pass { time }),
        1 => time(140).prop_map(|time| Operation::Pass { time }),
    ]
}
