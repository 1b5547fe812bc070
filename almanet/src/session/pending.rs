//! The calls that wait for an answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::{id::Id, wire::Reply};

/// The calls of one session that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct PendingCalls {
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    waiting: HashMap<Id, oneshot::Sender<Reply>>,
    closed: bool,
}

impl PendingCalls {
    /// Enters a call; `None` once the session has been left.
    pub(super) fn enter(self: &Arc<Self>, id: Id) -> Option<PendingCall> {
        let (sender, receiver) = oneshot::channel();
        let mut calls = self.lock();
        if calls.closed {
            return None;
        }
        calls.waiting.insert(id, sender);
        Some(PendingCall {
            id,
            calls: Arc::clone(self),
            receiver,
        })
    }

    /// Hands `reply` to the call that it answers; `false` when nobody waits for it.
    pub(super) fn complete(&self, reply: Reply) -> bool {
        let waiting = self.lock().waiting.remove(&reply.call_id);
        waiting.is_some_and(|sender| sender.send(reply).is_ok())
    }

    /// Ends all waiting calls and lets no further ones enter.
    pub(super) fn close(&self) {
        let mut calls = self.lock();
        calls.closed = true;
        calls.waiting = HashMap::new();
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        // Nothing panics while it holds the lock, so the map is whole even if the lock says poisoned.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call's place among those that wait; given up on drop.
#[derive(Debug)]
pub(super) struct PendingCall {
    id: Id,
    calls: Arc<PendingCalls>,
    receiver: oneshot::Receiver<Reply>,
}

impl PendingCall {
    /// The answer; `None` once the session has been left.
    pub(super) async fn reply(&mut self) -> Option<Reply> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        let mut calls = self.calls.lock();
        calls.waiting.remove(&self.id);
        // A burst of calls shall not keep its memory for ever.
        if calls.waiting.len() * 4 < calls.waiting.capacity() && calls.waiting.capacity() > 4096 {
            calls.waiting.shrink_to(1024);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Codec, Payload};

    fn reply(id: Id) -> Reply {
        Reply::new(id, Ok(Payload::encode(Codec::Json, &1).unwrap()))
    }

    #[tokio::test]
    async fn a_reply_reaches_the_call_it_answers_once() {
        let calls = Arc::new(PendingCalls::default());
        let (first, second) = (Id::random(), Id::random());
        let mut waiting = calls.enter(first).unwrap();
        let _other = calls.enter(second).unwrap();

        assert!(calls.complete(reply(first)));
        assert_eq!(waiting.reply().await.unwrap().call_id, first);
        assert!(!calls.complete(reply(first)), "a duplicate is nobody's");
    }

    #[test]
    fn a_dropped_call_leaves_nothing_behind() {
        let calls = Arc::new(PendingCalls::default());
        let id = Id::random();
        drop(calls.enter(id).unwrap());
        assert!(calls.lock().waiting.is_empty());
        assert!(!calls.complete(reply(id)));
    }

    #[test]
    fn a_burst_of_calls_gives_its_memory_back() {
        let calls = Arc::new(PendingCalls::default());
        let burst: Vec<_> = (0..100_000).map(|_| calls.enter(Id::random()).unwrap()).collect();
        drop(burst);
        assert!(calls.lock().waiting.capacity() <= 4096);
    }

    #[tokio::test]
    async fn closing_ends_the_waiting_and_refuses_the_next() {
        let calls = Arc::new(PendingCalls::default());
        let mut waiting = calls.enter(Id::random()).unwrap();
        calls.close();
        assert_eq!(waiting.reply().await, None);
        assert!(calls.enter(Id::random()).is_none());
    }
}
