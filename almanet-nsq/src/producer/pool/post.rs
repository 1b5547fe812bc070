//! A message on its way that nobody waits for, or not yet.

use std::sync::{Arc, atomic::Ordering};

use almanet_nsq_proto::TopicName;
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    members::{Member, Members},
    publisher::ProducerPool,
};
use crate::{
    error::PublishError,
    producer::{
        alarm::{Alarm, FailedPost, PostFailed},
        content::Content,
        deadline::Term,
        publish::Outcome,
    },
};

/// A message that was [posted](crate::ProducerPool::post).
///
/// Dropped, it is never sent if it was not written yet.
#[derive(Debug)]
pub struct Posted {
    node: Arc<Member>,
    ticket: u64,
    is_over: bool,
}

impl ProducerPool {
    /// Queues one message at once if a node can take it soon, and does not wait for the confirmation: for a publisher that hears
    /// otherwise that the message has arrived, as a caller does by the answer.
    ///
    /// If it fails after all, `told` is called with `key`; [`settle`](Self::settle) does then what can be done, as sending it
    /// through another node, where the pool's [`Duplicates`](crate::Duplicates) count.
    ///
    /// ```no_run
    /// # use std::sync::{Arc, atomic::Ordering};
    /// use almanet_nsq::{PostFailed, ProducerPool, PublishError, TopicName};
    /// use bytes::Bytes;
    ///
    /// # async fn answered() -> bool { true }
    /// # async fn example(pool: &ProducerPool, told: Arc<dyn PostFailed>) -> Result<(), Box<dyn std::error::Error>> {
    /// let (topic, question) = (TopicName::new("questions")?, Bytes::from_static(b"who is there?"));
    /// match pool.post(&topic, question, &told, [7; 16]) {
    ///     Ok(posted) if answered().await => posted.arrived(),
    ///     Ok(posted) => pool.settle(posted, None).await.map(drop)?,
    ///     Err(question) => pool.publish(&topic, question).await?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The message itself, with nothing done, when it would have to wait, or is no message that can be published:
    /// [`publish`](Self::publish) it.
    pub fn post(
        &self,
        topic: &TopicName,
        body: Bytes,
        told: &Arc<dyn PostFailed>,
        key: [u8; 16],
    ) -> Result<Posted, Bytes> {
        let shared = &*self.shared;
        if shared.is_closing.load(Ordering::SeqCst) || Content::check(topic, &body, self.limits()).is_err() {
            return Err(body);
        }
        let deadline = Instant::now() + shared.config.producer.publish_timeout;
        Posted::queue(
            &shared.members,
            self.preferred.as_deref(),
            topic,
            body,
            deadline,
            || Alarm::new(Arc::clone(told), key),
        )
    }

    /// Finds out what has become of what was [posted](Self::post), and publishes it elsewhere where that may be. Returns the node
    /// that took it.
    ///
    /// `failed` is what its publisher was [told](PostFailed), if it was; if not, this waits for the outcome.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As [`publish`](Self::publish).
    pub async fn settle(&self, posted: Posted, failed: Option<FailedPost>) -> Result<Arc<str>, PublishError> {
        let shared = &*self.shared;
        let _under_way = shared.publishes.token();
        let outcome = match failed {
            Some(FailedPost(failed)) => Err(failed),
            None => posted.outcome().await,
        };
        let node = posted.over();
        let Err(failed) = outcome else {
            shared.members.note(&node, &Ok(()));
            return Ok(Arc::clone(node.producer.node()));
        };
        let Some((content, deadline)) = &failed.content else {
            return Err(PublishError::Closed);
        };
        let Some((topic, _)) = content.message() else {
            return Err(PublishError::Closed);
        };
        let begun = deadline.checked_sub(shared.config.producer.publish_timeout);
        let term = Term {
            begun: begun.unwrap_or(*deadline),
            deadline: *deadline,
            is_whole: false,
        };
        let mut publishing = self.publishing(topic, term);
        let error = node.producer.error(failed.failure, topic, term.begun);
        shared.members.failed(&node, &error);
        if !publishing.may_go_on(&error) {
            return Err(error);
        }
        publishing.remember(&node, error);
        publishing.run(content).await
    }
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
