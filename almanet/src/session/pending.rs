//! The calls that wait for an answer.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll, ready},
};

use almanet_nsq::Expected;
use foldhash::fast::RandomState;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::outbox::{Outbox, Outgoing};
use crate::{
    id::Id,
    transport::{FailedPost, PostFailed},
    wire::Reply,
};

/// How many instances a call remembers that run it: NSQ can deliver it twice, rarely more often.
const MAX_INSTANCES: usize = 4;

/// The calls of one session that wait for an answer.
#[derive(Debug)]
pub(super) struct PendingCalls {
    session: Id,
    calls: Mutex<Calls>,
    /// How instances are told that a call is given up; there before any of them can have said that it runs one.
    cancels: OnceLock<Outbox>,
}

#[derive(Debug, Default)]
struct Calls {
    /// By names that this session has made up at random, so that no hash has to guard against chosen ones.
    waiting: HashMap<Id, Waiting, RandomState>,
    closed: bool,
    /// How many of them wait.
    expected: Expected,
}

/// Instances, and the node that each was heard of through.
type Instances = Vec<(Id, Arc<str>)>;

#[derive(Debug)]
struct Waiting {
    sender: oneshot::Sender<News>,
    /// Who has said that it runs the call, and the node that it said so through.
    ///
    /// Few calls take so long that anybody says it, so it takes little room where nobody has.
    instances: Option<Box<Instances>>,
}

/// What a waiting call is told.
#[derive(Debug)]
enum News {
    Reply(Reply),
    /// A node was lost. The call goes on waiting by `next` if that is none of its business.
    NodeLost {
        node: Arc<str>,
        next: oneshot::Receiver<News>,
    },
    /// What was posted has failed. The call goes on waiting by `next` if that can be put right.
    PostFailed {
        failed: FailedPost,
        next: oneshot::Receiver<News>,
    },
}

/// What has become of a call.
#[derive(Debug)]
pub(super) enum Answer {
    Reply(Reply),
    /// A node was lost, through which the answer may have been on its way.
    NodeLost(Arc<str>),
    /// What was posted has failed.
    PostFailed(FailedPost),
}

impl PendingCalls {
    /// No calls, of the session `session`.
    pub(super) fn new(session: Id) -> Self {
        Self {
            session,
            calls: Mutex::default(),
            cancels: OnceLock::new(),
        }
    }

    /// How many calls wait, at any time from here on.
    pub(super) fn expected(&self) -> Expected {
        self.lock().expected.clone()
    }

    /// Has cancels sent by `outbox` from here on.
    pub(super) fn send_cancels_by(&self, outbox: Outbox) {
        // Set once: a session listens once.
        let _ = self.cancels.set(outbox);
    }

    /// Enters a call; `None` once the session has been left.
    pub(super) fn enter(&self, id: Id) -> Option<PendingCall<'_>> {
        let (sender, receiver) = oneshot::channel();
        let waiting = Waiting {
            sender,
            instances: None,
        };
        let mut calls = self.lock();
        if calls.closed {
            return None;
        }
        calls.waiting.insert(id, waiting);
        calls.expected.set(calls.waiting.len());
        Some(PendingCall {
            id,
            calls: self,
            receiver,
            is_answered: false,
        })
    }

    /// Hands `reply` to the call that it answers; `false` when nobody waits for it.
    pub(super) fn complete(&self, reply: Reply) -> bool {
        let waiting = self.lock().take(reply.call_id);
        waiting.is_some_and(|waiting| waiting.sender.send(News::Reply(reply)).is_ok())
    }

    /// Notes that `instance` runs the call `id`, and says so through `node`; `false` when nobody waits for it.
    pub(super) fn runs_at(&self, id: Id, instance: Id, node: &Arc<str>) -> bool {
        let mut calls = self.lock();
        let Some(waiting) = calls.waiting.get_mut(&id) else {
            return false;
        };
        let instances = waiting.instances.get_or_insert_default();
        if instances.len() < MAX_INSTANCES && instances.iter().all(|(known, _)| *known != instance) {
            instances.push((instance, Arc::clone(node)));
        }
        true
    }

    /// Tells every call that `node` was lost. Which of them it concerns they know themselves.
    pub(super) fn node_lost(&self, node: &Arc<str>) {
        for waiting in self.lock().waiting.values_mut() {
            let node = Arc::clone(node);
            waiting.tell(|next| News::NodeLost { node, next });
        }
    }

    /// Ends all waiting calls and lets no further ones enter.
    pub(super) fn close(&self) {
        let waiting = {
            let mut calls = self.lock();
            calls.closed = true;
            calls.expected.set(0);
            mem::take(&mut calls.waiting)
        };
        for (id, waiting) in waiting {
            self.cancel(id, &waiting);
        }
    }

    /// Tells those who run the call that nobody waits for it.
    fn cancel(&self, id: Id, waiting: &Waiting) {
        let Some(outbox) = self.cancels.get() else { return };
        for (instance, node) in waiting.instances.iter().flat_map(|instances| instances.iter()) {
            outbox.send(Outgoing::cancel(id, self.session, *instance, node));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        // Nothing panics while it holds the lock, so the map is whole even if the lock says poisoned.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PostFailed for PendingCalls {
    fn post_failed(&self, key: [u8; 16], failed: FailedPost) {
        if let Some(waiting) = self.lock().waiting.get_mut(&Id::from_bytes(key)) {
            waiting.tell(|next| News::PostFailed { failed, next });
        }
    }
}

impl Waiting {
    /// Tells the call something after which it goes on waiting.
    fn tell(&mut self, news: impl FnOnce(oneshot::Receiver<News>) -> News) {
        let (sender, next) = oneshot::channel();
        let told = mem::replace(&mut self.sender, sender);
        // An error says that the call is given up at this moment.
        let _ = told.send(news(next));
    }
}

impl Calls {
    /// Takes a call out.
    fn take(&mut self, id: Id) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id);
        self.expected.set(self.waiting.len());
        // A burst of calls shall not keep its memory for ever.
        if self.waiting.len() * 4 < self.waiting.capacity() && self.waiting.capacity() > 4096 {
            self.waiting.shrink_to(1024);
        }
        waiting
    }
}

/// A call's place among those that wait; given up on drop, and then those who run the call are told.
#[derive(Debug)]
pub(super) struct PendingCall<'a> {
    id: Id,
    calls: &'a PendingCalls,
    receiver: oneshot::Receiver<News>,
    /// Whether it has its reply, and so its place no more.
    is_answered: bool,
}

impl PendingCall<'_> {
    /// The name of the call.
    pub(super) fn id(&self) -> Id {
        self.id
    }

    /// The answer, or the next node that was lost; `None` once the session has been left.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let answer = match ready!(self.receiver.poll_unpin(cx)) {
            Ok(News::Reply(reply)) => {
                self.is_answered = true;
                Some(Answer::Reply(reply))
            }
            Ok(News::NodeLost { node, next }) => {
                self.receiver = next;
                Some(Answer::NodeLost(node))
            }
            Ok(News::PostFailed { failed, next }) => {
                self.receiver = next;
                Some(Answer::PostFailed(failed))
            }
            Err(_) => None,
        };
        Poll::Ready(answer)
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let given_up = self.calls.lock().take(self.id);
        if let Some(given_up) = given_up {
            self.calls.cancel(self.id, &given_up);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::wire::{Codec, Payload};

    async fn answer(call: &mut PendingCall<'_>) -> Option<Answer> {
        poll_fn(|cx| call.poll_answer(cx)).await
    }

    async fn replied(call: &mut PendingCall<'_>) -> Option<Reply> {
        match answer(call).await {
            Some(Answer::Reply(reply)) => Some(reply),
            _ => None,
        }
    }

    fn calls() -> Arc<PendingCalls> {
        Arc::new(PendingCalls::new(Id::random()))
    }

    fn reply(id: Id) -> Reply {
        Reply::new(id, Ok(Payload::encode(Codec::Json, &1).unwrap()))
    }

    #[tokio::test]
    async fn a_reply_reaches_the_call_it_answers_once() {
        let calls = calls();
        let (first, second) = (Id::random(), Id::random());
        let mut waiting = calls.enter(first).unwrap();
        let _other = calls.enter(second).unwrap();

        assert!(calls.complete(reply(first)));
        assert_eq!(replied(&mut waiting).await, Some(reply(first)));
        assert!(!calls.complete(reply(first)), "a duplicate is nobody's");
    }

    #[tokio::test]
    async fn as_many_replies_are_expected_as_calls_wait() {
        let calls = calls();
        let expected = calls.expected();
        let count = |count: usize| assert_eq!(expected.get(), count);
        count(0);
        let ids = [Id::random(), Id::random(), Id::random()];
        let mut waiting: Vec<_> = ids.iter().map(|id| calls.enter(*id).unwrap()).collect();
        count(3);
        assert!(calls.complete(reply(ids[0])));
        count(2);
        drop(waiting.pop());
        count(1);
        calls.close();
        count(0);
    }

    #[tokio::test]
    async fn a_call_that_is_told_of_lost_nodes_still_gets_its_reply() {
        let calls = calls();
        let id = Id::random();
        let mut waiting = calls.enter(id).unwrap();
        let nodes: [Arc<str>; 2] = ["a:1".into(), "b:2".into()];
        for node in &nodes {
            calls.node_lost(node);
        }
        assert!(calls.complete(reply(id)));
        for node in nodes {
            assert!(matches!(answer(&mut waiting).await, Some(Answer::NodeLost(lost)) if lost == node));
        }
        assert_eq!(replied(&mut waiting).await, Some(reply(id)));
    }

    #[test]
    fn a_dropped_call_leaves_nothing_behind() {
        let calls = calls();
        let id = Id::random();
        let waiting = calls.enter(id).unwrap();
        assert!(calls.runs_at(id, Id::random(), &"a:1".into()));
        drop(waiting);
        assert!(calls.lock().waiting.is_empty());
        assert!(!calls.complete(reply(id)));
        assert!(!calls.runs_at(id, Id::random(), &"a:1".into()));
    }

    #[test]
    fn a_call_remembers_few_instances() {
        let calls = calls();
        let id = Id::random();
        let _waiting = calls.enter(id).unwrap();
        for _ in 0..100 {
            assert!(calls.runs_at(id, Id::random(), &"a:1".into()));
        }
        assert_eq!(
            calls.lock().waiting[&id]
                .instances
                .as_ref()
                .map_or(0, |instances| instances.len()),
            MAX_INSTANCES
        );
    }

    #[test]
    fn a_burst_of_calls_gives_its_memory_back() {
        let calls = calls();
        let burst: Vec<_> = (0..100_000).map(|_| calls.enter(Id::random()).unwrap()).collect();
        drop(burst);
        assert!(calls.lock().waiting.capacity() <= 4096);
    }

    #[tokio::test]
    async fn closing_ends_the_waiting_and_refuses_the_next() {
        let calls = calls();
        let mut waiting = calls.enter(Id::random()).unwrap();
        calls.close();
        assert!(answer(&mut waiting).await.is_none());
        assert!(calls.enter(Id::random()).is_none());
    }
}
