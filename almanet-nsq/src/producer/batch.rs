//! What a producer's connection writes next.

use std::{collections::VecDeque, sync::Arc};

use almanet_nsq_proto::Command;
use bytes::BytesMut;

use super::{merge::Merge, outbox::Outbox, publish::Publish};
use crate::connection::{BATCH_BYTES, Outgoing};

/// Takes publishes off the queue, merges what goes to one topic, and notes all down as waiting for their answer.
#[derive(Debug)]
pub(super) struct Batch {
    outbox: Arc<Outbox>,
    /// The largest body that one command may have.
    max_body_size: usize,
    // Kept from one batch to the next for their memory; empty in between.
    taken: VecDeque<Publish>,
    places: Vec<(usize, Publish)>,
    ends: Vec<u64>,
}

impl Batch {
    pub(super) fn new(outbox: Arc<Outbox>, max_body_size: usize) -> Self {
        Self {
            outbox,
            max_body_size,
            taken: VecDeque::new(),
            places: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Appends one command for all of `publishes`, which were merged.
    fn encode(publishes: &[(usize, Publish)], buffer: &mut BytesMut) {
        match publishes {
            [(_, publish)] => publish.command.encode(buffer),
            [(_, first), ..] => {
                if let Command::Pub { topic, .. } = &first.command {
                    let bodies = publishes
                        .iter()
                        .filter_map(|(_, publish)| match &publish.command {
                            Command::Pub { body, .. } => Some(body),
                            _ => None,
                        });
                    Command::encode_mpub(buffer, topic, bodies);
                }
            }
            [] => {}
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
            let place = match publish.is_alone {
                true => merge.place_alone(&publish.command),
                false => merge.place(&publish.command, publish.deadline),
            };
            self.places.push((place, publish));
        }
        if !self.places.is_sorted_by_key(|(place, _)| *place) {
            self.places.sort_by_key(|(place, _)| *place);
        }
        for publishes in self.places.chunk_by(|(one, _), (other, _)| one == other) {
            Self::encode(publishes, buffer);
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

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        io,
        pin::Pin,
        sync::Mutex,
        task::{Context, Poll},
        time::Duration,
    };

    use almanet_nsq_proto::{CommandDecoder, Limits, TopicName};
    use bytes::Bytes;
    use tokio::{io::AsyncWrite, time::Instant};

    use super::*;
    use crate::{config::ConnectionConfig, connection::write_out, producer::content::Content};

    /// A socket that takes everything, and remembers what it was given each time.
    #[derive(Clone, Default)]
    struct Calls(Arc<Mutex<Vec<BytesMut>>>);

    impl AsyncWrite for Calls {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.lock().unwrap().push(bytes.into());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn publishes_to_many_topics_that_are_queued_together_are_one_write() {
        const COUNT: usize = 300;
        let outbox = Arc::new(Outbox::new(COUNT as u32, None));
        let deadline = Instant::now() + Duration::from_secs(60);
        let topics = (0..COUNT).map(|number| TopicName::new(format!("topic_{number}")).unwrap());
        let topics: BTreeSet<TopicName> = topics.collect();
        // What nobody waits for any more is not written.
        let mut receipts = Vec::new();
        for topic in &topics {
            let content = Content::one(topic, Bytes::from_static(b"x"), &ConnectionConfig::default());
            let room = outbox.room.try_acquire().unwrap();
            receipts.push(outbox.push(content.unwrap(), deadline, room).unwrap());
        }
        let calls = Calls::default();
        write_out(Batch::new(Arc::clone(&outbox), 1024 * 1024), calls.clone()).await;

        let mut calls = calls.0.lock().unwrap();
        assert_eq!(calls.len(), 1);
        let mut decoder = CommandDecoder::new(Limits::default());
        let mut written = BTreeSet::new();
        while let Some(Command::Pub { topic, .. }) = decoder.decode(&mut calls[0]).unwrap() {
            written.insert(topic);
        }
        assert_eq!(written, topics);
    }
}
