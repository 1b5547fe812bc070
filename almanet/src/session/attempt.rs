//! One call without its types: sent once, or again as its retry policy says.

use std::{future::poll_fn, mem, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::{again::Again, pending::Answer, retry::Retry, shared::Session};
use crate::{
    error::{CallError, RpcError},
    id::Id,
    transport::{FailedPost, Posted, Publication, PublishError, SubscribeError, Transport},
    uri::Uri,
    wire::{EncodeError, Headers, Invocation, Payload, Reply},
};

/// For how long a call waits that has no deadline the clock could tell: 30 years.
const FAR: Duration = Duration::from_secs(30 * 365 * 86400);

/// What is sent. Few things live while it waits: there is a future of it for each call under way.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) session: Session,
    pub(super) timeout: Duration,
    pub(super) headers: Headers,
    pub(super) payload: Payload,
}

/// Why there is no reply.
pub(super) enum Failed {
    Encode(EncodeError),
    Subscribe(SubscribeError),
    Publish(PublishError),
    /// The payload is larger than the session allows.
    TooLarge {
        size: usize,
        limit: usize,
    },
    Disconnected(Arc<str>),
    TimedOut,
    NoResponders,
    Cancelled,
    SessionLeft,
}

impl Failed {
    pub(super) fn into_error<E: RpcError>(self, procedure: Uri, started: Instant) -> CallError<E> {
        match self {
            Self::Encode(source) => CallError::Encode { procedure, source },
            Self::Subscribe(source) => CallError::Subscribe { procedure, source },
            Self::TooLarge { size, limit } | Self::Publish(PublishError::TooLarge { size, limit, .. }) => {
                CallError::TooLarge {
                    procedure,
                    size,
                    limit,
                }
            }
            Self::Publish(source) => CallError::Publish { procedure, source },
            Self::Disconnected(node) => CallError::Disconnected { procedure, node },
            Self::TimedOut => CallError::Timeout {
                procedure,
                waited: started.elapsed(),
            },
            Self::NoResponders => CallError::NoResponders {
                procedure,
                waited: started.elapsed(),
            },
            Self::Cancelled => CallError::Cancelled { procedure },
            Self::SessionLeft => CallError::SessionLeft,
        }
    }

    /// The same, where sending again can help. What may have run is only sent again if that does no harm.
    pub(super) fn for_another(&self, idempotent: bool) -> Option<Self> {
        match self {
            Self::Publish(error) if error.may_have_happened() => {
                idempotent.then(|| Self::Publish(error.clone()))
            }
            Self::Publish(
                error @ (PublishError::NotSent { .. }
                | PublishError::NoNode { .. }
                | PublishError::AllFailed(_)),
            ) => Some(Self::Publish(error.clone())),
            Self::Disconnected(node) => idempotent.then(|| Self::Disconnected(Arc::clone(node))),
            Self::TimedOut => idempotent.then_some(Self::TimedOut),
            Self::Encode(_)
            | Self::Subscribe(_)
            | Self::Publish(_)
            | Self::TooLarge { .. }
            | Self::NoResponders
            | Self::Cancelled
            | Self::SessionLeft => None,
        }
    }
}

/// How far the invocation is known to have come.
enum Sent<'a> {
    /// It is to be taken by a node before anything else.
    Publishing(BoxFuture<'a, Result<Option<Arc<str>>, PublishError>>),
    /// It is on its way to a node.
    Posted(Posted),
    /// A node has it; which one, if that is known.
    Taken(Option<Arc<str>>),
}

impl Sent<'_> {
    /// The node that has it, or is to have it.
    fn is_for(&self, node: &Arc<str>) -> bool {
        match self {
            Self::Publishing(_) => false,
            Self::Posted(posted) => posted.node() == node,
            Self::Taken(taken) => taken.as_ref() == Some(node),
        }
    }

    /// Waits until a node has it, which it `failed` to come to so far.
    async fn settle(self, transport: &dyn Transport, failed: Option<FailedPost>) -> Result<Self, Failed> {
        let outcome = match self {
            Self::Publishing(publishing) => publishing.await,
            Self::Posted(posted) => transport.settle(posted, failed).await,
            Self::Taken(node) => Ok(node),
        };
        outcome.map(Self::Taken).map_err(Failed::Publish)
    }

    /// Its reply says that it has arrived.
    fn arrived(self) {
        if let Self::Posted(posted) = self {
            posted.arrived();
        }
    }
}

impl Request {
    /// That the payload is not larger than the session allows.
    pub(super) fn check_size(&self) -> Result<(), Failed> {
        let size = self.payload.bytes().len();
        match self.session.shared.max_payload {
            Some(limit) if size > limit => Err(Failed::TooLarge { size, limit }),
            _ => Ok(()),
        }
    }

    /// When the call ends at the latest, by its own timeout and by that of the call that it is made for.
    pub(super) fn deadline(&self, started: Instant) -> Option<Instant> {
        let own = started.checked_add(self.timeout);
        let of_the_caller = self.session.inherited.as_ref();
        let of_the_caller = of_the_caller.and_then(|inherited| inherited.deadline);
        [own, of_the_caller].into_iter().flatten().min()
    }

    /// Sends the invocation and waits for its reply, until `deadline` where there is one.
    pub(super) fn exchange_until(
        self: Box<Self>,
        procedure: &Uri,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<Reply, Failed>> {
        let deadline = deadline.unwrap_or_else(|| Instant::now() + FAR);
        // An async block would have room for the exchange twice: as what it is given and as what it awaits.
        timeout_at(deadline, self.exchange(procedure))
            .map(|exchanged| exchanged.unwrap_or(Err(Failed::TimedOut)))
    }

    /// What was to be sent is gone once it is, so that it takes no memory while the call waits.
    async fn exchange(mut self: Box<Self>, procedure: &Uri) -> Result<Reply, Failed> {
        let shared = Arc::clone(&self.session.shared);
        let mut pending = shared.pending.enter(Id::random()).ok_or(Failed::SessionLeft)?;
        if !shared.inbox.initialized() {
            // Only the first call of a session comes by here, so its future is not a part of every call's.
            Box::pin(shared.inbox()).await.map_err(Failed::Subscribe)?;
        }
        let mut sent = {
            let body = self.take_body(pending.id())?;
            drop(self);
            let publication = Publication::new(procedure.topic().clone(), body);
            let key = *pending.id().as_bytes();
            match shared.transport.post(publication, &shared.told, key) {
                Ok(posted) => Sent::Posted(posted),
                Err(publication) => Sent::Publishing(shared.transport.publish_and_locate(publication)),
            }
        };
        let mut lost = None;
        if matches!(sent, Sent::Publishing(_)) {
            sent = Box::pin(sent.settle(&*shared.transport, None)).await?;
        }
        loop {
            let answer = poll_fn(|cx| match pending.poll_answer(cx) {
                // Before a call is taken for lost, it looks at what else there is to know.
                Poll::Pending if lost.is_some() => Poll::Ready(None),
                answer => answer.map(Some),
            });
            // What is waited for is not matched on, or the future of every call would have room for an answer.
            let failed = match answer.await {
                Some(Some(Answer::Reply(reply))) => {
                    sent.arrived();
                    return Ok(reply);
                }
                Some(Some(Answer::NodeLost(node))) => {
                    lost = sent.is_for(&node).then_some(node).or(lost);
                    continue;
                }
                Some(Some(Answer::PostFailed(failed))) => Some(failed),
                Some(None) => return Err(Failed::SessionLeft),
                None => None,
            };
            sent = Box::pin(sent.settle(&*shared.transport, failed)).await?;
            // The reply comes through the node that took the call, or from nowhere.
            if let Some(node) = lost.take().filter(|node| sent.is_for(node)) {
                return Err(Failed::Disconnected(node));
            }
        }
    }

    /// Sends the invocation, and again, as its policy and the session's budget allow.
    pub(super) async fn exchange_again(
        &self,
        procedure: &Uri,
        deadline: Option<Instant>,
        again: &Again,
    ) -> Result<Reply, Failed> {
        let budget = &self.session.shared.retry_budget;
        budget.deposit();
        let (policy, started) = (again.policy, Instant::now());
        let mut attempt = 1;
        loop {
            let outcome = self.clone().attempt(procedure, deadline, policy).await;
            if attempt >= policy.most_attempts() || !again.is_worth_it(&outcome, procedure, started) {
                return outcome;
            }
            let resume_at = Instant::now() + policy.pause(attempt);
            if deadline.is_some_and(|deadline| deadline <= resume_at) || !budget.withdraw() {
                return outcome;
            }
            tracing::debug!(%procedure, attempt, "a call is sent again");
            sleep_until(resume_at).await;
            attempt += 1;
        }
    }

    /// One attempt, for as long as it may take.
    async fn attempt(
        mut self,
        procedure: &Uri,
        deadline: Option<Instant>,
        policy: Retry,
    ) -> Result<Reply, Failed> {
        let now = Instant::now();
        let own = policy
            .longest_attempt()
            .and_then(|longest| now.checked_add(longest));
        let until = [deadline, own].into_iter().flatten().min();
        if let Some(until) = until {
            self.timeout = until.saturating_duration_since(now);
        }
        Box::new(self).exchange_until(procedure, until).await
    }

    /// Ends when nobody has been there for `patience` who could answer, by what the broker says; never, if it cannot say.
    pub(super) fn unserved(&self, procedure: &Uri, patience: Duration) -> impl Future<Output = ()> + use<> {
        let (transport, topic) = (
            Arc::clone(&self.session.shared.transport),
            procedure.topic().clone(),
        );
        async move {
            loop {
                sleep(patience).await;
                match transport.has_subscribers(&topic).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        tracing::debug!(%topic, %error, "cannot learn whether anybody serves a procedure");
                    }
                }
            }
        }
    }

    /// The body of the message. It is written once: what it is made of is given away.
    pub(super) fn take_body(&mut self, id: Id) -> Result<Bytes, Failed> {
        let codec = self.payload.codec();
        let invocation = Invocation {
            id,
            caller_id: self.session.id(),
            reply_topic: self.session.shared.inbox.get().map(|inbox| inbox.topic.clone()),
            timeout: Some(self.timeout),
            takes_control: true,
            headers: mem::take(&mut self.headers),
            payload: mem::replace(&mut self.payload, Payload::from_bytes(codec, Bytes::new())),
        };
        invocation.encode().map_err(Failed::Encode)
    }
}
