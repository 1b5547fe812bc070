//! The messages of one channel.

use std::{
    collections::{BTreeMap, VecDeque},
    task::Waker,
};

use almanet_nsq::MessageId;
use bytes::Bytes;
use tokio::time::Instant;

/// A message and how often it was delivered.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub(super) id: MessageId,
    pub(super) timestamp: i64,
    pub(super) attempts: u16,
    pub(super) body: Bytes,
    /// When it may be delivered; `None` for at once.
    pub(super) due: Option<Instant>,
}

/// What waits in a channel, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: VecDeque<Queued>,
    /// By when they are due, and then in the order in which they came.
    deferred: BTreeMap<(Instant, u64), Queued>,
    deferrals: u64,
    waiting: Vec<Waker>,
    pub(super) subscribers: usize,
}

impl Queue {
    /// How many messages wait here.
    pub(super) fn depth(&self) -> usize {
        self.ready.len() + self.deferred.len()
    }

    pub(super) fn push(&mut self, message: Queued) {
        match message.due {
            Some(due) => {
                self.deferrals += 1;
                self.deferred.insert((due, self.deferrals), message);
            }
            None => self.ready.push_back(message),
        }
        // Also for what is deferred: whoever waits has to wait for it now.
        self.wake();
    }

    /// The next message that may be delivered at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Queued> {
        while self.next_due().is_some_and(|due| due <= now) {
            let due = self.deferred.pop_first();
            self.ready.extend(due.map(|(_, message)| message));
        }
        self.ready.pop_front()
    }

    /// When the next deferred message is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.deferred.first_key_value().map(|((due, _), _)| *due)
    }

    /// Remembers whom to wake when there is something to look for.
    pub(super) fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }

    pub(super) fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}
