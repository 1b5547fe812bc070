//! Publishes on their way: those that wait to be written and those that wait for their confirmation.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use almanet_nsq_proto::{Command, ProtocolError};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, oneshot},
    time::Instant,
};

use super::{content::Content, receipt::Receipt};
use crate::connection::{Ended, Lost, Pending};

/// A queue that has grown beyond this many publishes gives its memory back when it is empty.
const KEPT_CAPACITY: usize = 4096;

/// One publish, wherever it is.
#[derive(Debug)]
pub(super) struct Publish {
    /// Counts up in the order in which publishes were queued.
    ticket: u64,
    pub(super) command: Command,
    /// The bytes of its messages.
    size: usize,
    pub(super) deadline: Instant,
    /// Whether it was refused together with others, and now travels by itself.
    pub(super) is_alone: bool,
    answer: oneshot::Sender<Result<(), Failure>>,
    /// Its place within the bytes that may be queued; free again when the publish is answered.
    _room: OwnedSemaphorePermit,
}

impl Publish {
    /// Tells the publisher. It may have gone away; then nobody minds.
    pub(super) fn answer(self, outcome: Result<(), Failure>) {
        let _ = self.answer.send(outcome);
    }
}

/// Why a publish failed.
#[derive(Debug)]
pub(super) enum Failure {
    Refused(ProtocolError),
    Unconfirmed(Arc<str>),
    NotSent,
    /// It was dropped without an answer.
    Closed,
}

/// All publishes of a producer that are not answered yet. It outlives connections.
///
/// The locks are never held together, and never while a task waits or is woken.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    pending: Mutex<Pending<Publish>>,
    /// Wakes the writer when the queue is no longer empty.
    pub(super) filled: Notify,
    pub(super) is_connected: AtomicBool,
    /// Where what cannot be sent at once is better given back, because somebody knows another way: whom to tell that
    /// this one is open.
    pub(super) gives_back: Option<Arc<Notify>>,
}

/// Publishes that were not written, oldest first, so with rising tickets.
#[derive(Debug)]
struct Queue {
    publishes: VecDeque<Publish>,
    next_ticket: u64,
    is_open: bool,
}

impl Outbox {
    pub(super) fn new(gives_back: Option<Arc<Notify>>) -> Self {
        Self {
            queue: Mutex::new(Queue {
                publishes: VecDeque::new(),
                next_ticket: 0,
                is_open: true,
            }),
            pending: Mutex::new(Pending::new()),
            filled: Notify::new(),
            is_connected: AtomicBool::new(false),
            gives_back,
        }
    }

    /// Queues a publish.
    pub(super) fn push(
        &self,
        content: Content,
        deadline: Instant,
        room: OwnedSemaphorePermit,
    ) -> Result<Receipt<'_>, Failure> {
        let Content { command, size } = content;
        let (sender, answer) = oneshot::channel();
        let mut queue = self.queue();
        if !queue.is_open {
            return Err(Failure::Closed);
        }
        if self.gives_back.is_some() && !self.is_connected.load(Ordering::Acquire) {
            return Err(Failure::NotSent);
        }
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        let was_empty = queue.publishes.is_empty();
        queue.publishes.push_back(Publish {
            ticket,
            command,
            size,
            deadline,
            is_alone: false,
            answer: sender,
            _room: room,
        });
        drop(queue);
        // The writer takes from the queue until it is empty before it waits.
        if was_empty {
            self.filled.notify_one();
        }
        Ok(Receipt::new(self, ticket, answer))
    }

    /// Takes a publish back. `false` when it is too late for that.
    ///
    /// The receiver of its answer has to be closed before, so that it is not sent if it comes back to the queue.
    pub(super) fn withdraw(&self, ticket: u64) -> bool {
        let mut queue = self.queue();
        let found = queue
            .publishes
            .binary_search_by_key(&ticket, |publish| publish.ticket);
        let withdrawn = found.ok().and_then(|index| queue.publishes.remove(index));
        drop(queue);
        withdrawn.is_some()
    }

    /// Moves publishes of about `limit` bytes in all to `taken`, at least one if there is one.
    pub(super) fn take(&self, limit: usize, taken: &mut Vec<Publish>) {
        let mut queue = self.queue();
        let mut size = 0;
        while size < limit
            && let Some(publish) = queue.publishes.pop_front()
        {
            if publish.answer.is_closed() {
                continue;
            }
            size += publish.size;
            taken.push(publish);
        }
        if queue.publishes.is_empty() && queue.publishes.capacity() > KEPT_CAPACITY {
            queue.publishes.shrink_to(KEPT_CAPACITY);
        }
    }

    /// What was written and waits for the broker's answer.
    pub(super) fn pending(&self) -> MutexGuard<'_, Pending<Publish>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails what is past its deadline. Returns the next deadline.
    pub(super) fn expire(&self, now: Instant, reason: &Arc<str>) -> Option<Instant> {
        let (unconfirmed, next_pending) = {
            let mut pending = self.pending();
            let due = pending.give_up(|publish| publish.deadline <= now);
            (due, pending.oldest().map(|publish| publish.deadline))
        };
        let (unsent, next_queued) = {
            let mut queue = self.queue();
            let due = queue
                .publishes
                .iter()
                .take_while(|publish| publish.deadline <= now)
                .count();
            let unsent: Vec<Publish> = queue.publishes.drain(..due).collect();
            (unsent, queue.publishes.front().map(|publish| publish.deadline))
        };
        for publish in unconfirmed {
            publish.answer(Err(Failure::Unconfirmed(Arc::clone(reason))));
        }
        for publish in unsent {
            publish.answer(Err(Failure::NotSent));
        }
        next_pending.into_iter().chain(next_queued).min()
    }

    /// The connection ended: what the broker cannot have taken in goes back to the queue, the rest is unconfirmed.
    pub(super) fn lose(&self, ended: &Ended) {
        self.is_connected.store(false, Ordering::Release);
        let written = match ended.lost {
            // nsqd works on nothing that follows the command it refused with a fatal error.
            Lost::Refused(_) => 0,
            _ => ended.written,
        };
        let (sent, mut unsent) = self.pending().split(written);
        // Merging has moved some past others.
        unsent.sort_unstable_by_key(|publish| publish.ticket);
        let mut queue = self.queue();
        for publish in unsent.into_iter().rev() {
            queue.publishes.push_front(publish);
        }
        let mut given_back = VecDeque::new();
        if self.gives_back.is_some() {
            // A broker that has refused is there, and those that are to go alone would have company elsewhere.
            let stays = |publish: &Publish| publish.is_alone && matches!(ended.lost, Lost::Refused(_));
            (queue.publishes, given_back) = std::mem::take(&mut queue.publishes).into_iter().partition(stays);
        }
        drop(queue);
        for publish in given_back {
            publish.answer(Err(Failure::NotSent));
        }
        self.fail_unconfirmed(sent, &ended.lost.to_string());
    }

    /// There is a connection.
    pub(super) fn open(&self) {
        self.is_connected.store(true, Ordering::Release);
        if let Some(connected) = &self.gives_back {
            connected.notify_waiters();
        }
    }

    /// Takes no further publishes and fails those that are there.
    pub(super) fn close(&self) {
        self.is_connected.store(false, Ordering::Release);
        let closed = {
            let mut queue = self.queue();
            queue.is_open = false;
            std::mem::take(&mut queue.publishes)
        };
        drop(closed);
        let (sent, unsent) = self.pending().split(u64::MAX);
        drop(unsent);
        self.fail_unconfirmed(sent, &Lost::Closed.to_string());
    }

    fn fail_unconfirmed(&self, publishes: Vec<Publish>, reason: &str) {
        let reason: Arc<str> = reason.into();
        for publish in publishes {
            publish.answer(Err(Failure::Unconfirmed(Arc::clone(&reason))));
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
