//! What became of each message, in one byte, and the counts that a soak prints.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use almanet_nsq::PublishError;
use tokio::sync::watch;

/// How many channels each topic has: the bits of a message's byte do for as many.
pub(super) const CHANNELS: usize = 2;

const CONFIRMED: u8 = 1;
const NOT_SENT: u8 = 2;
/// Shifted by the number of the channel: it was finished in time there.
const CONSUMED: u8 = 4;
/// Shifted by the number of the channel: the broker has called a delivery there the first one.
const DELIVERED_FIRST: u8 = CONSUMED << CHANNELS;

/// What a soak has done so far. Messages of a topic count once for each channel where they are consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that clients have tried to publish.
    pub published: u64,
    /// Those of which the broker said `OK`.
    pub confirmed: u64,
    /// Those that may have been published or not, as the connection was lost.
    pub unconfirmed: u64,
    /// Those that never left their client.
    pub not_sent: u64,
    /// Those whose client was killed before it had an answer.
    pub orphaned: u64,
    /// Distinct messages that were finished.
    pub consumed: u64,
    /// Deliveries after a message's first.
    pub redelivered: u64,
    /// Deliveries that a client gave back, some to be delivered later.
    pub requeued: u64,
    /// Deliveries that a client held beyond their timeout.
    pub outlasted: u64,
    /// Clients that were cut off, for good or until they had reconnected.
    pub kills: u64,
    /// Clean restarts of the broker.
    pub restarts: u64,
    /// Confirmed messages that were not consumed on each channel: on their way, or in the end lost.
    pub owed: u64,
    /// Messages that the broker delivered twice as if they were two.
    pub doubled: u64,
    /// Messages that were consumed although they were said not to have been sent.
    pub invented: u64,
}

impl Counts {
    /// Whether the broker has kept what it promises, and was put to the test at all.
    pub fn is_well(&self) -> bool {
        let is_tested = self.confirmed > 0 && self.consumed > 0 && self.kills > 0 && self.restarts > 0;
        is_tested && self.owed == 0 && self.doubled == 0 && self.invented == 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} published, {} confirmed, {} unconfirmed, {} not sent, {} orphaned; {} consumed on {CHANNELS} channels, {} redelivered, \
             {} requeued, {} outlasted; {} kills, {} restarts; {} owed, {} doubled, {} invented",
            self.published,
            self.confirmed,
            self.unconfirmed,
            self.not_sent,
            self.orphaned,
            self.consumed,
            self.redelivered,
            self.requeued,
            self.outlasted,
            self.kills,
            self.restarts,
            self.owed,
            self.doubled,
            self.invented,
        )
    }
}

#[derive(Debug, Default)]
pub(super) struct Books {
    /// By the number of the message.
    messages: Mutex<Vec<u8>>,
    counts: watch::Sender<Counts>,
}

impl Books {
    /// The numbers of so many new messages.
    pub(super) fn begin(&self, count: usize) -> Vec<u64> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let first = messages.len();
        messages.resize(first + count, 0);
        self.counts.send_modify(|counts| counts.published += count as u64);
        (first..first + count).map(|number| number as u64).collect()
    }

    /// Notes what a publish of these messages came to.
    pub(super) fn published(&self, numbers: &[u64], result: &Result<(), PublishError>) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let count = numbers.len() as u64;
        let mut is = |bit| {
            for number in numbers {
                if let Some(message) = messages.get_mut(*number as usize) {
                    *message |= bit;
                }
            }
        };
        match result {
            Ok(()) => is(CONFIRMED),
            Err(error) if error.may_have_happened() => {}
            Err(_) => is(NOT_SENT),
        }
        self.counts.send_modify(|counts| match result {
            Ok(()) => counts.confirmed += count,
            Err(error) if error.may_have_happened() => counts.unconfirmed += count,
            Err(_) => counts.not_sent += count,
        });
    }

    /// Notes a delivery on a channel, whatever becomes of it.
    pub(super) fn delivered(&self, number: u64, channel: usize, attempts: u16) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let bit = DELIVERED_FIRST << channel;
        let was_first = match messages.get_mut(number as usize) {
            Some(message) if attempts == 1 => {
                let was_first = *message & bit != 0;
                *message |= bit;
                was_first
            }
            Some(_) => false,
            // Nobody has published such a message.
            None => {
                self.counts.send_modify(|counts| counts.invented += 1);
                return;
            }
        };
        self.counts.send_modify(|counts| {
            counts.redelivered += u64::from(attempts > 1);
            counts.doubled += u64::from(was_first);
        });
    }

    /// Notes that a message was finished in time on a channel.
    pub(super) fn consumed(&self, number: u64, channel: usize) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let bit = CONSUMED << channel;
        let Some(message) = messages.get_mut(number as usize) else {
            return;
        };
        let is_new = *message & bit == 0;
        *message |= bit;
        self.counts
            .send_modify(|counts| counts.consumed += u64::from(is_new));
    }

    /// Counts something else.
    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    /// The counts, with what is still to come.
    pub(super) fn balance(&self) -> Counts {
        let all = (CONSUMED << CHANNELS) - CONSUMED;
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = *self.counts.borrow();
        counts.orphaned = counts.published - counts.confirmed - counts.unconfirmed - counts.not_sent;
        for message in messages.iter() {
            counts.owed += u64::from(message & CONFIRMED != 0 && message & all != all);
            counts.invented += u64::from(message & NOT_SENT != 0 && message & all != 0);
        }
        counts
    }

    /// To be woken when something has changed.
    pub(super) fn watch(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }
}
