//! A message on its way that nobody waits for, or not yet.

use std::sync::Arc;

use almanet_nsq_proto::TopicName;
use bytes::Bytes;

use super::members::{Member, Members};
use crate::producer::{
    alarm::Alarm,
    content::Content,
    deadline::Term,
    outbox::{Failed, Failure},
    receipt::{Queued, Receipt},
};

/// A message that was [posted](crate::ProducerPool::post).
///
/// Dropped, it is never sent if it was not written yet.
#[derive(Debug)]
pub struct Posted {
    node: Arc<Member>,
    term: Term,
    /// `None` once it is settled, whatever came of it.
    queued: Option<Queued>,
}

/// What became of a post.
pub(super) enum Settled {
    Published(Arc<str>),
    Failed(Arc<Member>, Failure, Box<Content>),
    Closed,
}

impl Posted {
    /// Queues a message at the node whose turn it is, if that has taken everything lately.
    pub(super) fn queue(
        members: &Members,
        preferred: Option<&str>,
        topic: &TopicName,
        body: Bytes,
        term: Term,
        alarm: impl FnOnce() -> Alarm,
    ) -> Result<Self, Bytes> {
        let node = members.choose(preferred, |_| false);
        // Of others each outcome has to be noted.
        let Some(node) = node.filter(|node| node.health.is_trusted()) else {
            return Err(body);
        };
        let content = Content::checked(topic, body);
        match node.producer.post(content, term.deadline, alarm) {
            Ok(queued) => Ok(Self {
                node,
                term,
                queued: Some(queued),
            }),
            Err(content) => Err(content.into_message()),
        }
    }

    /// The address of the node that it is for, as it was given or found.
    pub fn node(&self) -> &Arc<str> {
        self.node.producer.node()
    }

    /// Its publisher knows that it has arrived.
    pub fn arrived(mut self) {
        self.queued = None;
    }

    pub(super) fn term(&self) -> Term {
        Term {
            is_whole: false,
            ..self.term
        }
    }

    pub(super) async fn settled(mut self, members: &Members) -> Settled {
        let Some(queued) = self.queued.take() else {
            return Settled::Closed;
        };
        let mut receipt = Receipt::new(self.node.producer.outbox(), queued);
        match receipt.settled().await {
            Ok(()) => {
                members.note(&self.node, &Ok(()));
                Settled::Published(Arc::clone(self.node()))
            }
            Err(Failed {
                failure,
                content: Some(content),
            }) => Settled::Failed(Arc::clone(&self.node), failure, content),
            Err(Failed { content: None, .. }) => Settled::Closed,
        }
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        if let Some(queued) = self.queued.take() {
            // Takes it back.
            drop(Receipt::new(self.node.producer.outbox(), queued));
        }
    }
}
