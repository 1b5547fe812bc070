//! The messages that may not be delivered yet, by the time when they may.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    sync::Arc,
    time::Instant,
};

use almanet_nsq_proto::Message;

use crate::limits::{Memory, cost};

/// Messages that become due, the earliest first; those due at one instant in the order they came.
#[derive(Debug)]
pub(super) struct Deferred {
    entries: BinaryHeap<Reverse<Entry>>,
    next_number: u64,
    memory: Arc<Memory>,
}

#[derive(Debug)]
struct Entry {
    due: Instant,
    number: u64,
    message: Message,
}

impl Deferred {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self {
            entries: BinaryHeap::new(),
            next_number: 0,
            memory,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn push(&mut self, message: Message, due: Instant) {
        self.memory.charge(cost(&message));
        let number = self.next_number;
        self.next_number += 1;
        self.entries.push(Reverse(Entry { due, number, message }));
    }

    /// When the earliest message becomes due.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.entries.peek().map(|Reverse(entry)| entry.due)
    }

    /// Takes the next message that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Message> {
        if self.earliest()? > now {
            return None;
        }
        let Reverse(entry) = self.entries.pop()?;
        self.memory.release(cost(&entry.message));
        if self.entries.is_empty() {
            self.entries.shrink_to(0);
        }
        Some(entry.message)
    }

    /// Takes all messages out, with the time when each is due; the earliest first.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (Message, Instant)> + use<> {
        let entries = std::mem::take(&mut self.entries);
        self.memory
            .release(entries.iter().map(|Reverse(entry)| cost(&entry.message)).sum());
        let entries = entries.into_sorted_vec().into_iter().rev();
        entries.map(|Reverse(entry)| (entry.message, entry.due))
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.entries.iter().map(|Reverse(entry)| &entry.message)
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        self.memory.release(
            self.entries
                .iter()
                .map(|Reverse(entry)| cost(&entry.message))
                .sum(),
        );
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}
