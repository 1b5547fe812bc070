//! Publishes on their way: those that wait to be written and those that wait for their confirmation.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit, oneshot},
    time::Instant,
};

use super::{
    alarm::Alarm,
    content::Content,
    publish::{Answer, Failure, Publish},
    receipt::Receipt,
};
use crate::connection::{Ended, Lost, Pending};

/// A queue that has grown beyond this many publishes gives its memory back when it was emptied.
const KEPT_CAPACITY: usize = 4096;

/// All publishes of a producer that are not answered yet. It outlives connections.
///
/// The locks are never held together, and never while a task waits or is woken.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    pending: Mutex<Pending<Publish>>,
    /// One permit for each byte that may be queued.
    pub(super) room: Semaphore,
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
    /// The bytes of their messages.
    size: usize,
    next_ticket: u64,
    is_open: bool,
}

impl Outbox {
    /// An outbox for `capacity` bytes.
    pub(super) fn new(capacity: u32, gives_back: Option<Arc<Notify>>) -> Self {
        Self {
            room: Semaphore::new(capacity as usize),
            queue: Mutex::new(Queue {
                publishes: VecDeque::new(),
                size: 0,
                next_ticket: 0,
                is_open: true,
            }),
            pending: Mutex::new(Pending::new()),
            filled: Notify::new(),
            is_connected: AtomicBool::new(false),
            gives_back,
        }
    }

    /// Queues a publish whose outcome is waited for.
    pub(super) fn push(
        &self,
        content: Content,
        deadline: Instant,
        room: SemaphorePermit<'_>,
    ) -> Result<Receipt<'_>, Failure> {
        let (sender, answer) = oneshot::channel();
        let queued = self.queue_up(content, deadline, room, || Answer::Waits(sender));
        let ticket = queued.map_err(|(failure, _)| failure)?;
        Ok(Receipt::new(self, ticket, answer))
    }

    /// Queues a publish whose outcome is not waited for; an error is what was not queued.
    pub(super) fn post(
        &self,
        content: Content,
        deadline: Instant,
        room: SemaphorePermit<'_>,
        alarm: impl FnOnce() -> Alarm,
    ) -> Result<u64, Content> {
        let queued = self.queue_up(content, deadline, room, || Answer::Posted(alarm()));
        queued.map_err(|(_, content)| content)
    }

    fn queue_up(
        &self,
        content: Content,
        deadline: Instant,
        room: SemaphorePermit<'_>,
        answer: impl FnOnce() -> Answer,
    ) -> Result<u64, (Failure, Content)> {
        let mut queue = self.queue();
        if !queue.is_open {
            return Err((Failure::Closed, content));
        }
        if self.gives_back.is_some() && !self.is_connected.load(Ordering::Acquire) {
            return Err((Failure::NotSent, content));
        }
        let Content { command, size } = content;
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        let was_empty = queue.publishes.is_empty();
        queue.size += size;
        queue.publishes.push_back(Publish {
            ticket,
            command,
            size,
            deadline,
            is_alone: false,
            answer: answer(),
            room: room.num_permits(),
        });
        drop(queue);
        room.forget();
        // The writer takes from the queue until it is empty before it waits.
        if was_empty {
            self.filled.notify_one();
        }
        Ok(ticket)
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
        let is_withdrawn = withdrawn.is_some();
        queue.size -= withdrawn.as_ref().map_or(0, |publish| publish.size);
        drop(queue);
        self.drop_unheard(withdrawn);
        is_withdrawn
    }

    /// Has the outcome of a post waited for; `None` when it was told already.
    pub(super) fn settle_by(&self, ticket: u64) -> Option<Receipt<'_>> {
        let (sender, receiver) = oneshot::channel();
        let mut answer = Answer::Settles(sender);
        let found = {
            let mut queue = self.queue();
            let found = queue
                .publishes
                .binary_search_by_key(&ticket, |publish| publish.ticket);
            let publish = found.ok().and_then(|index| queue.publishes.get_mut(index));
            publish.map(|publish| mem::swap(&mut publish.answer, &mut answer))
        };
        let found = found.or_else(|| {
            let mut pending = self.pending();
            let publish = pending.find(|publish| publish.ticket == ticket);
            publish.map(|publish| mem::swap(&mut publish.answer, &mut answer))
        });
        if let (Some(()), Answer::Posted(alarm)) = (found, answer) {
            alarm.defuse();
        }
        found.map(|()| Receipt::new(self, ticket, receiver))
    }

    /// Moves publishes of about `limit` bytes in all to `taken`, which is empty, at least one if there is one.
    pub(super) fn take(&self, limit: usize, taken: &mut VecDeque<Publish>) {
        taken.shrink_to(KEPT_CAPACITY);
        let mut queue = self.queue();
        if queue.size <= limit {
            // Whoever publishes meanwhile does not have to wait until all are moved.
            mem::swap(&mut queue.publishes, taken);
            queue.size = 0;
            return;
        }
        let mut size = 0;
        while size < limit
            && let Some(publish) = queue.publishes.pop_front()
        {
            size += publish.size;
            taken.push_back(publish);
        }
        queue.size -= size;
    }

    /// Tells the publishers what has become of `publishes`, and gives their room back, of all of them at once. A publisher may have
    /// gone away; then nobody minds.
    pub(super) fn settle(
        &self,
        publishes: impl IntoIterator<Item = Publish>,
        outcome: impl Fn() -> Result<(), Failure>,
    ) {
        let mut room = 0;
        for publish in publishes {
            room += publish.room;
            publish.settle(outcome());
        }
        self.room.add_permits(room);
    }

    /// Gives the room of publishes back that nobody waits for.
    fn drop_unheard(&self, publishes: impl IntoIterator<Item = Publish>) {
        self.settle(publishes, || Err(Failure::Closed));
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
            queue.size -= unsent.iter().map(|publish| publish.size).sum::<usize>();
            (unsent, queue.publishes.front().map(|publish| publish.deadline))
        };
        self.settle(unconfirmed, || Err(Failure::Unconfirmed(Arc::clone(reason))));
        self.settle(unsent, || Err(Failure::NotSent));
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
        let mut given_up = Vec::new();
        for publish in unsent.into_iter().rev() {
            // It was not in the queue when its publisher went away. Whoever goes away from here on finds it there.
            if publish.answer.is_closed() {
                given_up.push(publish);
                continue;
            }
            queue.size += publish.size;
            queue.publishes.push_front(publish);
        }
        let mut given_back = VecDeque::new();
        if self.gives_back.is_some() {
            // A broker that has refused is there, and those that are to go alone would have company elsewhere.
            let stays = |publish: &Publish| publish.is_alone && matches!(ended.lost, Lost::Refused(_));
            (queue.publishes, given_back) = mem::take(&mut queue.publishes).into_iter().partition(stays);
            queue.size -= given_back.iter().map(|publish| publish.size).sum::<usize>();
        }
        drop(queue);
        self.drop_unheard(given_up);
        self.settle(given_back, || Err(Failure::NotSent));
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
            queue.size = 0;
            mem::take(&mut queue.publishes)
        };
        let (sent, unsent) = self.pending().split(u64::MAX);
        self.settle(closed.into_iter().chain(unsent), || Err(Failure::Closed));
        self.fail_unconfirmed(sent, &Lost::Closed.to_string());
    }

    fn fail_unconfirmed(&self, publishes: Vec<Publish>, reason: &str) {
        let reason: Arc<str> = reason.into();
        self.settle(publishes, || Err(Failure::Unconfirmed(Arc::clone(&reason))));
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use almanet_nsq_proto::{Command, ErrorCode, ProtocolError, TopicName};
    use bytes::Bytes;

    use super::*;
    use crate::config::ConnectionConfig;

    const CAPACITY: usize = 1000;
    const COST: u32 = 100;

    /// Messages of one byte, each with its number.
    fn push(outbox: &Outbox, number: u8) -> Receipt<'_> {
        let topic = TopicName::new("orders").unwrap();
        let body = Bytes::from(vec![number]);
        let content = Content::one(&topic, body, &ConnectionConfig::default()).unwrap();
        let room = outbox.room.try_acquire_many(COST).unwrap();
        let deadline = Instant::now() + Duration::from_secs(u64::from(number));
        outbox.push(content, deadline, room).unwrap()
    }

    fn take(outbox: &Outbox, limit: usize) -> VecDeque<Publish> {
        let mut taken = VecDeque::new();
        outbox.take(limit, &mut taken);
        check_size(outbox);
        taken
    }

    /// A size that is too large would have publishes moved one by one for ever.
    fn check_size(outbox: &Outbox) {
        let queue = outbox.queue();
        let size: usize = queue.publishes.iter().map(|publish| publish.size).sum();
        assert_eq!(queue.size, size);
    }

    /// Writes all that is queued, but not to the broker.
    fn write(outbox: &Outbox) {
        for (place, publish) in take(outbox, CAPACITY).into_iter().enumerate() {
            outbox.pending().push(publish, place as u64 + 1);
        }
    }

    fn numbers(publishes: impl IntoIterator<Item = Publish>) -> Vec<u8> {
        let number = |publish: Publish| match publish.command {
            Command::Pub { body, .. } => body[0],
            command => panic!("{command:?}"),
        };
        publishes.into_iter().map(number).collect()
    }

    fn lost(written: u64) -> Ended {
        Ended {
            lost: Lost::Ended,
            written,
        }
    }

    /// How many publishes there would be room for.
    fn free(outbox: &Outbox) -> usize {
        check_size(outbox);
        outbox.room.available_permits() / COST as usize
    }

    #[test]
    fn what_was_given_up_while_it_was_being_written_does_not_come_back_with_the_rest() {
        let outbox = Outbox::new(CAPACITY as u32, None);
        let _receipts = [1, 2].map(|number| push(&outbox, number));
        let given_up = push(&outbox, 3);
        let _last = push(&outbox, 4);
        write(&outbox);
        drop(given_up);
        outbox.lose(&lost(1));
        assert_eq!(free(&outbox), 8);
        assert_eq!(numbers(take(&outbox, CAPACITY)), [2, 4]);
    }

    #[test]
    fn a_part_of_the_queue_is_taken_in_order_and_then_the_rest() {
        let outbox = Outbox::new(CAPACITY as u32, None);
        let mut receipts: VecDeque<Receipt<'_>> = (1..=6).map(|number| push(&outbox, number)).collect();
        assert_eq!(numbers(take(&outbox, 2)), [1, 2]);
        drop(receipts.remove(3));
        check_size(&outbox);
        assert_eq!(numbers(take(&outbox, 2)), [3, 5]);
        receipts.push_back(push(&outbox, 7));
        assert_eq!(numbers(take(&outbox, 2)), [6, 7]);
        assert!(take(&outbox, 2).is_empty());
    }

    #[test]
    fn whatever_becomes_of_publishes_their_room_comes_back() {
        let refused = || Err(Failure::Refused(ProtocolError::new(ErrorCode::PubFailed, "no")));
        let reason: Arc<str> = "late".into();
        let ways: [&dyn Fn(&Outbox); 6] = [
            &|outbox| outbox.settle(take(outbox, CAPACITY), refused),
            &|outbox| {
                write(outbox);
                outbox.lose(&lost(u64::MAX));
            },
            &|outbox| outbox.lose(&lost(0)),
            &|outbox| outbox.close(),
            &|outbox| {
                assert!(
                    outbox
                        .expire(Instant::now() + Duration::from_secs(60), &reason)
                        .is_none()
                )
            },
            &|outbox| {
                write(outbox);
                assert!(
                    outbox
                        .expire(Instant::now() + Duration::from_secs(60), &reason)
                        .is_none()
                );
            },
        ];
        for (number, way) in ways.iter().enumerate() {
            let outbox = Outbox::new(CAPACITY as u32, Some(Arc::default()));
            outbox.open();
            let _receipts = [1, 2, 3].map(|number| push(&outbox, number));
            assert_eq!(free(&outbox), 7);
            way(&outbox);
            assert_eq!(free(&outbox), 10, "way {number}");
        }
    }
}
