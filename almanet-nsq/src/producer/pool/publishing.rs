//! One publish on its way from node to node.

use std::{mem, sync::Arc, time::Duration};

use almanet_nsq_proto::TopicName;
use tokio::time::{Instant, timeout_at};

use super::{
    config::Duplicates,
    members::{Member, Members, is_refused_for_now},
};
use crate::{
    error::PublishError,
    producer::{content::Content, deadline::Term},
};

/// One publish: what may be done for it, and what has failed so far.
#[derive(Debug)]
pub(super) struct Publishing<'a> {
    pub(super) members: &'a Members,
    pub(super) topic: &'a TopicName,
    pub(super) preferred: Option<&'a str>,
    pub(super) duplicates: Duplicates,
    pub(super) confirm_timeout: Duration,
    pub(super) term: Term,
    /// What happened last at each node that failed.
    pub(super) failed: Vec<PublishError>,
}

impl Publishing<'_> {
    /// Tries nodes until one confirms, the time is over, or what failed must not be tried again. Returns the one that
    /// confirmed.
    ///
    /// By reference: what an async function is given by value has room in its future twice.
    pub(super) async fn run(&mut self, content: &Content) -> Result<Arc<str>, PublishError> {
        loop {
            let Some(node) = self.node().await else {
                return Err(self.failure());
            };
            let term = self.attempt_term();
            let outcome = node
                .producer
                .submit_within(self.topic, content.clone(), term)
                .await;
            self.members.note(&node, &outcome);
            match outcome {
                Err(error) if self.may_go_on(&error) => self.remember(&node, error),
                Err(error) if !self.failed.is_empty() => {
                    self.remember(&node, error);
                    return Err(self.failure());
                }
                settled => return settled.map(|()| Arc::clone(node.producer.node())),
            }
            self.term.is_whole = false;
        }
    }

    /// The node to try next, as soon as there is one.
    async fn node(&mut self) -> Option<Arc<Member>> {
        if let Some(node) = self.choose() {
            return Some(node);
        }
        let members = self.members;
        self.term.is_whole = false;
        let waiting = async {
            loop {
                let changed = members.changed.notified();
                tokio::pin!(changed);
                // From here on no change is missed.
                changed.as_mut().enable();
                if let Some(node) = self.choose() {
                    return Some(node);
                }
                if self.failed.iter().any(PublishError::is_refused) {
                    // All that could take it refused: that is an answer, and waiting for others gives no better one.
                    return None;
                }
                changed.await;
            }
        };
        // Boxed, so that publishes that find a node at once carry none of it.
        let waiting = Box::pin(timeout_at(self.term.deadline, waiting));
        waiting.await.ok().flatten()
    }

    fn choose(&self) -> Option<Arc<Member>> {
        self.members.choose(self.preferred, |address| {
            let refused = |error: &PublishError| {
                matches!(error, PublishError::Refused { address: at, .. } if &**at == address)
            };
            self.failed.iter().any(refused)
        })
    }

    /// The time for one attempt: all that is left, unless it may be tried elsewhere before that.
    fn attempt_term(&self) -> Term {
        if self.duplicates == Duplicates::Never || self.members.count() < 2 {
            return self.term;
        }
        let begun = Instant::now();
        Term {
            begun,
            deadline: self.term.deadline.min(begun + self.confirm_timeout),
            is_whole: false,
        }
    }

    /// Whether another node may be tried, and there is time left for it.
    pub(super) fn may_go_on(&self, error: &PublishError) -> bool {
        let is_worth_it = match error {
            PublishError::NotSent { .. } => true,
            PublishError::Unconfirmed { .. } => self.duplicates == Duplicates::Allowed,
            PublishError::Refused { cause, .. } => {
                is_refused_for_now(&cause.code)
                    && (self.duplicates == Duplicates::Allowed || !error.may_have_happened())
            }
            _ => false,
        };
        is_worth_it && Instant::now() < self.term.deadline
    }

    pub(super) fn remember(&mut self, node: &Member, error: PublishError) {
        self.failed
            .retain(|earlier| address(earlier) != Some(node.producer.address()));
        self.failed.push(error);
    }

    /// The error of a publish that nobody confirmed: of one node its own, of several all of them.
    ///
    /// When the time is over, those that were waited for in vain are among them.
    fn failure(&mut self) -> PublishError {
        let waited = self.term.begun.elapsed();
        if Instant::now() >= self.term.deadline {
            let missing = self.members.shown().into_iter().filter(|node| !node.is_connected);
            for node in missing {
                let of_the_node = |error: &&mut PublishError| address(error) == Some(&node.address);
                match self.failed.iter_mut().find(of_the_node) {
                    Some(PublishError::NotSent { waited: shorter, .. }) => *shorter = waited,
                    Some(_) => {}
                    None => self.failed.push(PublishError::NotSent {
                        address: node.address,
                        topic: self.topic.clone(),
                        waited,
                    }),
                }
            }
        }
        match (self.failed.pop(), self.failed.is_empty()) {
            (None, _) => PublishError::NoNode {
                topic: self.topic.clone(),
                waited,
            },
            (Some(only), true) => only,
            (Some(last), false) => {
                self.failed.push(last);
                PublishError::AllFailed(mem::take(&mut self.failed))
            }
        }
    }
}

/// The node that the error is about.
fn address(error: &PublishError) -> Option<&str> {
    match error {
        PublishError::Refused { address, .. }
        | PublishError::Unconfirmed { address, .. }
        | PublishError::NotSent { address, .. } => Some(address),
        _ => None,
    }
}
