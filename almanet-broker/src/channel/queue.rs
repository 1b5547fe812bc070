//! The messages that wait for a subscriber, in order.

use std::{collections::VecDeque, sync::Arc};

use almanet_nsq_proto::Message;

use crate::limits::{Memory, cost};

/// Below this capacity an empty queue keeps its memory.
const KEPT_CAPACITY: usize = 1024;

/// First in, first out, counted in [`Memory`].
#[derive(Debug)]
pub(super) struct Queue {
    messages: VecDeque<Message>,
    memory: Arc<Memory>,
}

impl Queue {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self {
            messages: VecDeque::new(),
            memory,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn push(&mut self, message: Message) {
        self.memory.charge(cost(&message));
        self.messages.push_back(message);
    }

    /// Puts back what [`pop`](Self::pop) gave.
    pub(super) fn put_back(&mut self, message: Message) {
        self.memory.charge(cost(&message));
        self.messages.push_front(message);
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.memory.release(cost(&message));
        if self.messages.is_empty() && self.messages.capacity() > KEPT_CAPACITY {
            // A backlog that is gone shall not hold its memory for ever.
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    /// Takes all messages out, in order.
    pub(super) fn take_all(&mut self) -> VecDeque<Message> {
        let messages = std::mem::take(&mut self.messages);
        self.memory.release(messages.iter().map(cost).sum());
        messages
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.take_all();
    }
}
