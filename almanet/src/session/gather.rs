//! Messages that many answer: sent once, and the answers collected as they come.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use almanet_nsq::TopicName;
use tokio::sync::mpsc;

use super::{inbox::Inbox, shared::Session};
use crate::{
    error::IntrospectError,
    id::Id,
    transport::Publication,
    wire::{Invocation, Payload, Reply},
};

/// The most answers that wait to be taken.
const QUEUE: usize = 1024;

/// What a session has sent to many, and collects the answers of.
#[derive(Debug, Default)]
pub(super) struct Gatherings {
    /// How many there are, so that replies to calls, which come by here too, take no lock when there are none.
    count: AtomicUsize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    waiting: HashMap<Id, mpsc::Sender<Reply>>,
    closed: bool,
}

impl Gatherings {
    /// Begins to collect; `None` once the session has been left.
    fn enter(self: &Arc<Self>, id: Id) -> Option<Gathered> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut open = self.lock();
        if open.closed {
            return None;
        }
        open.waiting.insert(id, sender);
        self.count.store(open.waiting.len(), Ordering::Release);
        Some(Gathered {
            id,
            gatherings: Arc::clone(self),
            receiver,
        })
    }

    /// Takes `reply` if it is an answer that is collected here, else gives it back.
    pub(super) fn take(&self, reply: Reply) -> Option<Reply> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Some(reply);
        }
        let Some(sender) = self.lock().waiting.get(&reply.call_id).cloned() else {
            return Some(reply);
        };
        if sender.try_send(reply).is_err() {
            tracing::warn!("lost an answer: more than {QUEUE} came at once");
        }
        None
    }

    /// Ends all, and lets no further ones begin.
    pub(super) fn close(&self) {
        let mut open = self.lock();
        open.closed = true;
        open.waiting = HashMap::new();
        self.count.store(0, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it holds the lock, so the map is whole even if the lock says poisoned.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answers to one message; given up on drop.
#[derive(Debug)]
pub(crate) struct Gathered {
    id: Id,
    gatherings: Arc<Gatherings>,
    receiver: mpsc::Receiver<Reply>,
}

impl Gathered {
    /// The next answer; `None` once the session has been left.
    pub(crate) async fn next(&mut self) -> Option<Reply> {
        self.receiver.recv().await
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        let mut open = self.gatherings.lock();
        open.waiting.remove(&self.id);
        self.gatherings.count.store(open.waiting.len(), Ordering::Release);
    }
}

impl Session {
    /// Publishes an invocation that many will read, and collects their answers.
    pub(crate) async fn scatter(
        &self,
        topic: TopicName,
        payload: Payload,
        timeout: Duration,
    ) -> Result<Gathered, IntrospectError> {
        let shared = &*self.shared;
        let mut invocation = Invocation::new(shared.id, payload);
        let gathered = shared
            .gatherings
            .enter(invocation.id)
            .ok_or(IntrospectError::SessionLeft)?;
        let listening = shared.inbox.get_or_try_init(|| Inbox::listen(shared));
        let inbox = listening.await?;
        invocation.reply_topic = Some(inbox.topic.clone());
        invocation.timeout = Some(timeout);
        let publication = Publication::new(topic, invocation.encode()?);
        shared.transport.publish(publication).await?;
        Ok(gathered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Codec;

    fn reply(id: Id) -> Reply {
        Reply::new(id, Ok(Payload::encode(Codec::Json, &1).unwrap()))
    }

    #[tokio::test]
    async fn answers_reach_whoever_collects_them_and_other_replies_pass() {
        let gatherings = Arc::new(Gatherings::default());
        let (id, other) = (Id::random(), Id::random());
        assert!(gatherings.take(reply(id)).is_some());
        let mut gathered = gatherings.enter(id).unwrap();
        for _ in 0..2 {
            assert!(gatherings.take(reply(id)).is_none());
            assert_eq!(gathered.next().await.unwrap().call_id, id);
        }
        assert_eq!(gatherings.take(reply(other)).unwrap().call_id, other);
        drop(gathered);
        assert!(gatherings.take(reply(id)).is_some(), "nobody collects any more");
    }

    #[tokio::test]
    async fn answers_that_nobody_takes_have_a_bound() {
        let gatherings = Arc::new(Gatherings::default());
        let id = Id::random();
        let mut gathered = gatherings.enter(id).unwrap();
        for _ in 0..QUEUE + 10 {
            gatherings.take(reply(id));
        }
        gatherings.close();
        let mut taken = 0;
        while gathered.next().await.is_some() {
            taken += 1;
        }
        assert_eq!(taken, QUEUE);
        assert!(gatherings.enter(id).is_none(), "the session has been left");
    }
}
