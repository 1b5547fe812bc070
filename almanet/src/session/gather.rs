//! Messages that many answer: sent once, and their answers handed to whoever collects them.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use almanet_nsq::TopicName;
use tokio::sync::mpsc;

use super::{
    gathered::{Gathered, Until},
    inbox::Inbox,
    outbox::{Outbox, Outgoing},
    shared::Session,
};
use crate::{
    id::Id,
    transport::{Publication, PublishError, SubscribeError},
    wire::{EncodeError, Invocation, Reply},
};

/// The most answers that wait to be taken.
const QUEUE: usize = 1024;

/// The most instances that are remembered to be running what was sent.
const MAX_INSTANCES: usize = 1024;

/// What a session has sent to many, and collects the answers of.
#[derive(Debug, Default)]
pub(super) struct Gatherings {
    /// How many there are, so that replies to calls, which come by here too, take no lock when there are none.
    count: AtomicUsize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    waiting: HashMap<Id, Gathering>,
    closed: bool,
}

/// Where the answers to one message go, and who is still at work on one.
#[derive(Debug)]
struct Gathering {
    answers: mpsc::Sender<Reply>,
    session: Id,
    /// `None` where nothing runs that could be told.
    outbox: Option<Outbox>,
    running: Vec<(Id, Arc<str>)>,
}

impl Gathering {
    /// Tells those who run what was sent that nobody waits for it.
    fn cancel(&self, id: Id) {
        let Some(outbox) = &self.outbox else { return };
        for (instance, node) in &self.running {
            outbox.send(Outgoing::cancel(id, self.session, *instance, node));
        }
    }
}

impl Gatherings {
    /// Begins to collect; `None` once the session has been left.
    pub(super) fn enter(
        self: &Arc<Self>,
        id: Id,
        session: Id,
        outbox: Option<Outbox>,
        until: Until,
    ) -> Option<Gathered> {
        let (answers, receiver) = mpsc::channel(QUEUE);
        let mut open = self.lock();
        if open.closed {
            return None;
        }
        let gathering = Gathering {
            answers,
            session,
            outbox,
            running: Vec::new(),
        };
        open.waiting.insert(id, gathering);
        self.count.store(open.waiting.len(), Ordering::Release);
        drop(open);
        Some(Gathered::new(id, Arc::clone(self), receiver, until))
    }

    /// Takes `reply` if it is an answer that is collected here, else gives it back.
    pub(super) fn take(&self, reply: Reply) -> Option<Reply> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Some(reply);
        }
        let open = self.lock();
        let Some(gathering) = open.waiting.get(&reply.call_id) else {
            return Some(reply);
        };
        let answers = gathering.answers.clone();
        drop(open);
        if answers.try_send(reply).is_err() {
            tracing::warn!("lost an answer: more than {QUEUE} wait to be taken");
        }
        None
    }

    /// Notes that `instance` runs what was sent as `id`, and says so through `node`; `false` when nobody collects that.
    pub(super) fn runs_at(&self, id: Id, instance: Id, node: &Arc<str>) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut open = self.lock();
        let Some(Gathering { running, .. }) = open.waiting.get_mut(&id) else {
            return false;
        };
        if running.len() < MAX_INSTANCES && running.iter().all(|(known, _)| *known != instance) {
            running.push((instance, Arc::clone(node)));
        }
        true
    }

    /// Ends all, and lets no further ones begin.
    pub(super) fn close(&self) {
        let waiting = {
            let mut open = self.lock();
            open.closed = true;
            self.count.store(0, Ordering::Release);
            mem::take(&mut open.waiting)
        };
        for (id, gathering) in waiting {
            gathering.cancel(id);
        }
    }

    /// Collects no more answers to `id`; those who still work on one are told, if they are to be.
    pub(super) fn end(&self, id: Id, tells: bool) {
        let ended = {
            let mut open = self.lock();
            let ended = open.waiting.remove(&id);
            self.count.store(open.waiting.len(), Ordering::Release);
            ended
        };
        if let Some(gathering) = ended.filter(|_| tells) {
            gathering.cancel(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it holds the lock, so the map is whole even if the lock says poisoned.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is nothing to collect.
#[derive(Debug)]
pub(crate) enum NotScattered {
    Encode(EncodeError),
    Subscribe(SubscribeError),
    Publish(PublishError),
    SessionLeft,
}

impl Session {
    /// Publishes an invocation that many will read, and collects their answers.
    pub(crate) async fn scatter(
        &self,
        topic: TopicName,
        mut invocation: Invocation,
        until: Until,
    ) -> Result<Gathered, NotScattered> {
        let shared = &*self.shared;
        let listening = shared.inbox.get_or_try_init(|| Inbox::listen(shared));
        let inbox = listening.await.map_err(NotScattered::Subscribe)?;
        let outbox = Some(inbox.outbox.clone());
        let gathered = shared
            .gatherings
            .enter(invocation.id, shared.id, outbox, until)
            .ok_or(NotScattered::SessionLeft)?;
        invocation.reply_topic = Some(inbox.topic.clone());
        let body = invocation.encode().map_err(NotScattered::Encode)?;
        let publication = Publication::new(topic, body);
        let published = shared.transport.publish(publication).await;
        published.map_err(NotScattered::Publish)?;
        Ok(gathered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        session::MulticallEnd,
        wire::{Codec, Payload},
    };

    fn reply(id: Id) -> Reply {
        Reply::new(id, Ok(Payload::encode(Codec::Json, &1).unwrap()))
    }

    fn enter(gatherings: &Arc<Gatherings>, id: Id, until: Until) -> Option<Gathered> {
        gatherings.enter(id, Id::random(), None, until)
    }

    #[tokio::test]
    async fn answers_reach_whoever_collects_them_and_other_replies_pass() {
        let gatherings = Arc::new(Gatherings::default());
        let (id, other) = (Id::random(), Id::random());
        assert!(gatherings.take(reply(id)).is_some());
        let mut gathered = enter(&gatherings, id, Until::default()).unwrap();
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
        let mut gathered = enter(&gatherings, id, Until::default()).unwrap();
        for _ in 0..QUEUE + 10 {
            gatherings.take(reply(id));
        }
        gatherings.close();
        let mut taken = 0;
        while gathered.next().await.is_some() {
            taken += 1;
        }
        assert_eq!(taken, QUEUE);
        assert_eq!(gathered.ended(), Some(MulticallEnd::SessionLeft));
        assert!(
            enter(&gatherings, id, Until::default()).is_none(),
            "the session has been left"
        );
    }

    #[tokio::test]
    async fn what_is_given_up_is_not_said_to_run_for_anybody() {
        let gatherings = Arc::new(Gatherings::default());
        let (id, node) = (Id::random(), "a:1".into());
        assert!(!gatherings.runs_at(id, Id::random(), &node));
        let gathered = enter(&gatherings, id, Until::default()).unwrap();
        for _ in 0..MAX_INSTANCES + 10 {
            assert!(gatherings.runs_at(id, Id::random(), &node));
        }
        assert_eq!(gatherings.lock().waiting[&id].running.len(), MAX_INSTANCES);
        drop(gathered);
        assert!(!gatherings.runs_at(id, Id::random(), &node));
    }
}
