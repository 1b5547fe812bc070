//! What a producer's connection writes next.

use std::{mem, sync::Arc};

use almanet_nsq_proto::Command;
use bytes::{Bytes, BytesMut};

use super::{
    merge::Merge,
    outbox::{Outbox, Publish},
};
use crate::connection::{BATCH_BYTES, Outgoing};

/// Takes publishes off the queue, merges what goes to one topic, and notes all down as waiting for their answer.
#[derive(Debug)]
pub(super) struct Batch {
    outbox: Arc<Outbox>,
    /// The largest body that one command may have.
    max_body_size: usize,
    // Kept from one batch to the next for their memory; empty in between.
    taken: Vec<Publish>,
    places: Vec<(usize, Publish)>,
    ends: Vec<u64>,
    bodies: Vec<Bytes>,
}

impl Batch {
    pub(super) fn new(outbox: Arc<Outbox>, max_body_size: usize) -> Self {
        Self {
            outbox,
            max_body_size,
            taken: Vec::new(),
            places: Vec::new(),
            ends: Vec::new(),
            bodies: Vec::new(),
        }
    }

    /// Appends one command for all of `publishes`, which were merged.
    fn encode(bodies: &mut Vec<Bytes>, publishes: &[(usize, Publish)], buffer: &mut BytesMut) {
        if let [(_, publish)] = publishes {
            return publish.command.encode(buffer);
        }
        let mut merged_topic = None;
        for (_, publish) in publishes {
            if let Command::Pub { topic, body } = &publish.command {
                merged_topic.get_or_insert(topic);
                bodies.push(body.clone());
            }
        }
        let Some(topic) = merged_topic.cloned() else {
            return;
        };
        let bodies_given = mem::take(bodies);
        let command = Command::Mpub {
            topic,
            bodies: bodies_given,
        };
        command.encode(buffer);
        if let Command::Mpub {
            bodies: given_back, ..
        } = command
        {
            *bodies = given_back;
            bodies.clear();
        }
    }
}

impl Outgoing for Batch {
    async fn ready(&mut self) {
        self.outbox.filled.notified().await;
    }

    fn fill(&mut self, position: u64, buffer: &mut BytesMut) {
        let room = BATCH_BYTES.saturating_sub(buffer.len());
        self.outbox.take(room, &mut self.taken);
        if self.taken.is_empty() {
            return;
        }
        let mut merge = Merge::new(self.max_body_size);
        for publish in self.taken.drain(..) {
            let place = merge.place(&publish.command, publish.deadline);
            self.places.push((place, publish));
        }
        if !self.places.is_sorted_by_key(|(place, _)| *place) {
            self.places.sort_by_key(|(place, _)| *place);
        }
        for publishes in self.places.chunk_by(|(one, _), (other, _)| one == other) {
            Self::encode(&mut self.bodies, publishes, buffer);
            self.ends.push(position + buffer.len() as u64);
        }
        let mut pending = self.outbox.pending();
        for (place, publish) in self.places.drain(..) {
            let end = self.ends.get(place).copied().unwrap_or(position);
            pending.push(publish, end);
        }
        drop(pending);
        self.ends.clear();
    }
}
