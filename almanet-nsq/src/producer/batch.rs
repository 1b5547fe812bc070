//! What a producer's connection writes next.

use std::sync::Arc;

use bytes::BytesMut;

use super::outbox::{Outbox, Publish};
use crate::connection::{BATCH_BYTES, Outgoing};

/// Takes publishes off the queue and notes them down as waiting for their answer.
#[derive(Debug)]
pub(super) struct Batch {
    outbox: Arc<Outbox>,
    // Kept from one batch to the next for their memory; empty in between.
    taken: Vec<Publish>,
    ends: Vec<u64>,
}

impl Batch {
    pub(super) fn new(outbox: Arc<Outbox>) -> Self {
        Self {
            outbox,
            taken: Vec::new(),
            ends: Vec::new(),
        }
    }
}

impl Outgoing for Batch {
    async fn ready(&self) {
        self.outbox.filled.notified().await;
    }

    fn fill(&mut self, position: u64, buffer: &mut BytesMut) {
        let room = BATCH_BYTES.saturating_sub(buffer.len());
        self.outbox.take(room, &mut self.taken);
        if self.taken.is_empty() {
            return;
        }
        for publish in &self.taken {
            publish.command.encode(buffer);
            self.ends.push(position + buffer.len() as u64);
        }
        let mut pending = self.outbox.pending();
        for (publish, end) in self.taken.drain(..).zip(self.ends.drain(..)) {
            pending.push(publish, end);
        }
    }
}
