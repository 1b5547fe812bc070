//! A message on its way that nobody waits for, or not yet.

use std::sync::Arc;

use almanet_nsq_proto::TopicName;
use bytes::Bytes;
use tokio::time::Instant;

use super::members::{Member, Members};
use crate::producer::{alarm::Alarm, content::Content, outbox::Outcome};

/// A message that was [posted](crate::ProducerPool::post).
///
/// Dropped, it is never sent if it was not written yet.
#[derive(Debug)]
pub struct Posted {
    node: Arc<Member>,
    ticket: u64,
    is_over: bool,
}

impl Posted {
    /// Queues a message at the node whose turn it is, if that has taken everything lately.
    pub(super) fn queue(
        members: &Members,
        preferred: Option<&str>,
        topic: &TopicName,
        body: Bytes,
        deadline: Instant,
        alarm: impl FnOnce() -> Alarm,
    ) -> Result<Self, Bytes> {
        let node = members.choose(preferred, |_| false);
        // Of others each outcome has to be noted.
        let Some(node) = node.filter(|node| node.health.is_trusted()) else {
            return Err(body);
        };
        let content = Content::checked(topic, body);
        match node.producer.post(content, deadline, alarm) {
            Ok(ticket) => Ok(Self {
                node,
                ticket,
                is_over: false,
            }),
            Err(content) => Err(content.into_message()),
        }
    }

    /// The address of the node that it is for, as it was given or found.
    pub fn node(&self) -> &Arc<str> {
        self.node.producer.node()
    }

    /// Its publisher knows that it has arrived.
    pub fn arrived(self) {
        drop(self.over());
    }

    /// Waits for the outcome, unless it is over.
    pub(super) async fn outcome(&self) -> Outcome {
        match self.node.producer.outbox().settle_by(self.ticket) {
            Some(mut receipt) => receipt.settled().await,
            // Whoever posted it would have been told of a failure.
            None => Ok(()),
        }
    }

    /// There is nothing to be taken back any more.
    pub(super) fn over(mut self) -> Arc<Member> {
        self.is_over = true;
        Arc::clone(&self.node)
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        if !self.is_over {
            self.node.producer.outbox().withdraw(self.ticket);
        }
    }
}
