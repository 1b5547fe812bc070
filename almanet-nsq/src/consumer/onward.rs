//! Messages that are published together with the answers to those that they follow from.
//!
//! nsqd executes the commands of a connection one after the other, and ends the connection at a publish that it
//! refuses, without a look at what follows (`IOLoop` in nsqd's `protocol_v2.go`; every error of `PUB` and `MPUB` is
//! fatal). So a `FIN` behind a `PUB` is executed only if the message was taken in, and nobody has to wait for the
//! confirmation: neither is lost, whatever happens to the connection.

use almanet_nsq_proto::{Command, MessageId, TopicName};
use bytes::{Bytes, BytesMut};

/// The most messages that share one command.
const MOST: usize = 256;
/// The most bytes that share one command, unless one message alone has more.
const MOST_BYTES: usize = 256 * 1024;

/// A message that is about to leave.
#[derive(Debug)]
struct Onward {
    topic: TopicName,
    body: Bytes,
    /// The message that is finished with it.
    finishes: MessageId,
}

/// What one connection publishes.
#[derive(Debug, Default)]
pub(super) struct Onwards {
    waiting: Vec<Onward>,
    /// Commands that the broker has not confirmed.
    unconfirmed: usize,
}

impl Onwards {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, topic: TopicName, body: Bytes, finishes: MessageId) {
        self.waiting.push(Onward {
            topic,
            body,
            finishes,
        });
    }

    /// Writes all that waits: one command for what goes to the same topic, and behind it the answers.
    pub(super) fn encode(&mut self, buffer: &mut BytesMut) {
        if self.waiting.len() > 1 {
            self.waiting.sort_by(|left, right| left.topic.cmp(&right.topic));
        }
        let mut rest = self.waiting.as_slice();
        while let Some((together, others)) = rest.split_at_checked(fitting(rest))
            && let Some(first) = together.first()
        {
            if together.len() == 1 {
                let (topic, body) = (first.topic.clone(), first.body.clone());
                Command::Pub { topic, body }.encode(buffer);
            } else {
                let bodies = together.iter().map(|onward| &onward.body);
                Command::encode_mpub(buffer, &first.topic, bodies);
            }
            for onward in together {
                Command::Fin(onward.finishes).encode(buffer);
            }
            self.unconfirmed += 1;
            rest = others;
        }
        self.waiting.clear();
    }

    /// Takes note of a confirmation; `false` when none is due.
    pub(super) fn confirm(&mut self) -> bool {
        let is_due = self.unconfirmed > 0;
        self.unconfirmed = self.unconfirmed.saturating_sub(1);
        is_due
    }
}

/// How many of the first go to one topic and fit into one command.
fn fitting(onwards: &[Onward]) -> usize {
    let mut size = 0;
    let fits = |onward: &&Onward| {
        size += onward.body.len();
        onwards.first().is_some_and(|first| first.topic == onward.topic) && size <= MOST_BYTES
    };
    let count = onwards.iter().take(MOST).take_while(fits).count();
    count.max(1)
}
