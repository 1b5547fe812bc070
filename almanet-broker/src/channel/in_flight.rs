//! The messages that were delivered and are not answered yet.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use almanet_nsq_proto::{Message, MessageId};

use super::{SubscriberId, after};
use crate::limits::{InFlightShare, Memory, cost};

/// How many outdated deadlines may lie in the heap beside those that count.
const OUTDATED: usize = 256;

/// Why FIN, REQ or TOUCH is refused, in nsqd's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotInFlight {
    #[error("ID not in flight")]
    Unknown,
    #[error("client does not own message")]
    NotOwner,
}

/// Delivered messages by id, and their deadlines.
///
/// Answering a message does not search the heap: its deadline stays there, outdated, until it comes up or the
/// outdated ones are the majority. So an answer costs one look into a map.
#[derive(Debug)]
pub(super) struct InFlight {
    messages: HashMap<MessageId, Delivery, BuildHasherDefault<IdHasher>>,
    deadlines: BinaryHeap<Reverse<(Instant, MessageId)>>,
    share: InFlightShare,
}

#[derive(Debug)]
struct Delivery {
    message: Message,
    owner: SubscriberId,
    delivered: Instant,
    deadline: Instant,
}

impl InFlight {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self {
            messages: HashMap::default(),
            deadlines: BinaryHeap::new(),
            share: InFlightShare::new(memory),
        }
    }

    pub(super) fn insert(
        &mut self,
        message: Message,
        owner: SubscriberId,
        delivered: Instant,
        timeout: Duration,
    ) {
        self.share.add(cost(&message));
        let deadline = after(delivered, timeout);
        self.push_deadline(deadline, message.id);
        self.messages.insert(
            message.id,
            Delivery {
                message,
                owner,
                delivered,
                deadline,
            },
        );
    }

    /// Takes a message out that its owner has answered.
    pub(super) fn remove(&mut self, id: &MessageId, owner: SubscriberId) -> Result<Message, NotInFlight> {
        let delivery = self.messages.get(id).ok_or(NotInFlight::Unknown)?;
        if delivery.owner != owner {
            return Err(NotInFlight::NotOwner);
        }
        let delivery = self.messages.remove(id).ok_or(NotInFlight::Unknown)?;
        self.share.remove(cost(&delivery.message));
        Ok(delivery.message)
    }

    /// Gives a message `timeout` from `now`, but not more than `longest` since it was delivered.
    pub(super) fn touch(
        &mut self,
        id: &MessageId,
        owner: SubscriberId,
        now: Instant,
        timeout: Duration,
        longest: Duration,
    ) -> Result<(), NotInFlight> {
        let delivery = self.messages.get_mut(id).ok_or(NotInFlight::Unknown)?;
        if delivery.owner != owner {
            return Err(NotInFlight::NotOwner);
        }
        let deadline = after(now, timeout).min(after(delivery.delivered, longest));
        if deadline != delivery.deadline {
            delivery.deadline = deadline;
            self.push_deadline(deadline, *id);
        }
        Ok(())
    }

    /// Takes the next message whose time is over, and who had it.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<(Message, SubscriberId)> {
        while let Some(Reverse((deadline, id))) = self.deadlines.peek().copied() {
            let counts = self
                .messages
                .get(&id)
                .is_some_and(|delivery| delivery.deadline == deadline);
            if counts && deadline > now {
                return None;
            }
            self.deadlines.pop();
            if counts {
                let delivery = self.messages.remove(&id)?;
                self.share.remove(cost(&delivery.message));
                return Some((delivery.message, delivery.owner));
            }
        }
        None
    }

    /// Takes all messages of a subscriber out, the oldest first.
    pub(super) fn remove_all_of(&mut self, owner: SubscriberId) -> Vec<Message> {
        let mut messages: Vec<_> = self
            .messages
            .extract_if(|_, delivery| delivery.owner == owner)
            .map(|(_, delivery)| delivery.message)
            .collect();
        self.share.remove(messages.iter().map(cost).sum());
        messages.sort_unstable_by_key(|message| message.id);
        messages
    }

    /// Takes all messages out, the oldest first.
    pub(super) fn take_all(&mut self) -> Vec<Message> {
        self.deadlines.clear();
        let deliveries = std::mem::take(&mut self.messages).into_values();
        let mut messages: Vec<_> = deliveries.map(|delivery| delivery.message).collect();
        self.share.remove(messages.iter().map(cost).sum());
        messages.sort_unstable_by_key(|message| message.id);
        messages
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Forgets all messages.
    pub(super) fn clear(&mut self) {
        self.take_all();
    }

    /// A time at or before the earliest deadline.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.deadlines.peek().map(|Reverse((deadline, _))| *deadline)
    }

    fn push_deadline(&mut self, deadline: Instant, id: MessageId) {
        if self.deadlines.len() > 2 * self.messages.len() + OUTDATED {
            let messages = &self.messages;
            self.deadlines.retain(|Reverse((deadline, id))| {
                messages
                    .get(id)
                    .is_some_and(|delivery| delivery.deadline == *deadline)
            });
        }
        self.deadlines.push(Reverse((deadline, id)));
    }

    #[cfg(test)]
    pub(super) fn deadlines(&self) -> usize {
        self.deadlines.len()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Message, SubscriberId)> {
        self.messages
            .values()
            .map(|delivery| (&delivery.message, delivery.owner))
    }
}

/// Mixes the bytes of an id.
///
/// The ids in the map are the broker's own consecutive numbers, so nobody can choose them to collide.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        // The map takes its groups from the high bits and its buckets from the low ones.
        self.0 ^ (self.0 >> 32)
    }
}
