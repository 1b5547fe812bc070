//! One connection of a consumer, as its deliveries see it.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use almanet_nsq_proto::{Command, MessageId, TopicName};
use bytes::{Bytes, BytesMut};
use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    burst::Batch,
    flow::{Flow, Untaken},
    held::Held,
    onward::Onwards,
    outcomes::Outcomes,
    window::AdaptiveWindow,
};
use crate::connection::Outgoing;

/// Where the answers to the messages of one connection go. It lives exactly as long as the connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) address: Arc<str>,
    /// What the broker granted: an unanswered message is delivered again after it.
    pub(super) msg_timeout: Duration,
    /// The largest RDY that the broker takes.
    pub(super) max_ready: usize,
    /// The largest message that may be published.
    pub(super) max_message_size: usize,
    pub(super) outcomes: Arc<Outcomes>,
    untaken: Untaken,
    /// Whether deliveries are touched.
    touches: bool,
    outbox: Mutex<Outbox>,
    filled: Notify,
    is_lost: AtomicBool,
    /// Whether what came on this connection can and shall still be worked on.
    is_wanted: AtomicBool,
    released: CancellationToken,
    all_answered: Notify,
    /// The broker will send no message any more: it said so, or the connection is gone.
    done: CancellationToken,
}

#[derive(Debug)]
struct Outbox {
    /// Commands as they travel, a few for each message that the broker may have out.
    bytes: BytesMut,
    onwards: Onwards,
    flow: Flow,
    /// `None` where nothing is touched.
    held: Option<Held>,
    /// Whether the writer knows that there is something to write.
    is_awake: bool,
    /// Whether the writer's timer runs.
    is_timed: bool,
    is_open: bool,
}

impl Outbox {
    /// Counts a delivery that was answered.
    fn answer(&mut self) -> Last {
        self.flow.answer();
        match (self.flow.in_flight(), self.flow.limit()) {
            (0, 0) => Last::AndNoneShallCome,
            (0, _) => Last::Yes,
            _ => Last::No,
        }
    }
}

/// Whether a delivery that was answered was the last that was not.
#[derive(Debug, Clone, Copy)]
enum Last {
    No,
    Yes,
    AndNoneShallCome,
}

/// The connection that a command was meant for is gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Link {
    pub(super) fn new(
        address: Arc<str>,
        msg_timeout: Duration,
        max_ready: usize,
        max_message_size: usize,
        flow: Flow,
        held: Option<Held>,
        outcomes: Arc<Outcomes>,
    ) -> Self {
        Self {
            address,
            msg_timeout,
            max_ready,
            max_message_size,
            outcomes,
            untaken: flow.untaken(),
            touches: held.is_some(),
            outbox: Mutex::new(Outbox {
                bytes: BytesMut::new(),
                onwards: Onwards::default(),
                flow,
                held,
                is_awake: false,
                is_timed: false,
                is_open: true,
            }),
            filled: Notify::new(),
            is_lost: AtomicBool::new(false),
            is_wanted: AtomicBool::new(true),
            released: CancellationToken::new(),
            all_answered: Notify::new(),
            done: CancellationToken::new(),
        }
    }

    /// Queues a command.
    pub(super) fn send(&self, command: &Command) -> Result<(), Gone> {
        let mut outbox = self.outbox();
        if !outbox.is_open {
            return Err(Gone);
        }
        command.encode(&mut outbox.bytes);
        self.wake(outbox);
        Ok(())
    }

    /// Sets how many messages the broker may have out at most.
    pub(super) fn set_limit(&self, limit: usize) {
        let mut outbox = self.outbox();
        outbox.flow.set_limit(limit);
        self.wake(outbox);
    }

    /// Counts messages that came in at `now`.
    ///
    /// The broker is told nothing before [`flush`](Self::flush).
    pub(super) fn received(&self, now: Instant, batch: &Batch) {
        self.outbox().flow.received(now, batch);
    }

    /// Has the broker told what it should know by now.
    pub(super) fn flush(&self) {
        self.wake(self.outbox());
    }

    /// A message that `waited` for the user does so no longer.
    pub(super) fn left(&self, now: Instant, waited: Duration) {
        if self.untaken.take() || AdaptiveWindow::is_slow(waited) {
            let mut outbox = self.outbox();
            outbox.flow.taken(now, waited);
            self.wake(outbox);
        }
    }

    /// A message that came at `received_at` is handed out. Returns the slot that it is [held](Held) in, if it is.
    pub(super) fn take(&self, id: MessageId, received_at: Instant, now: Instant) -> Option<usize> {
        if !self.touches {
            return None;
        }
        let mut outbox = self.outbox();
        let (slot, is_sooner) = outbox.held.as_mut()?.hold(id, received_at, now);
        drop(outbox);
        if is_sooner {
            self.outcomes.news.notify_one();
        }
        Some(slot)
    }

    /// Touches what is held and due, and says when to do so again.
    pub(super) fn touch_held(&self, now: Instant) -> Option<Instant> {
        if !self.touches {
            return None;
        }
        let mut outbox = self.outbox();
        let Outbox { bytes, held, .. } = &mut *outbox;
        let held = held.as_mut()?;
        if held.look_at()? <= now {
            held.touch(now, |id| Command::Touch(id).encode(bytes));
        }
        let next = held.look_at();
        self.wake(outbox);
        next
    }

    /// A message waited for so long that the broker has taken it back: it is not in flight any more.
    pub(super) fn expired(&self, id: MessageId) {
        debug!(address = %self.address, %id, "a message waited for longer than its timeout, and will be delivered again");
        let mut outbox = self.outbox();
        let is_last = outbox.answer();
        self.wake(outbox);
        self.answered(is_last);
    }

    /// Queues the answer to a message, and counts it as answered even if it cannot be queued.
    pub(super) fn answer(&self, command: &Command, slot: Option<usize>) -> Result<(), Gone> {
        self.answer_with(slot, |outbox| command.encode(&mut outbox.bytes))
    }

    /// Queues `body` to be published to `topic`, and behind it the answer that `id` is finished.
    pub(super) fn publish_and_finish(
        &self,
        topic: TopicName,
        body: Bytes,
        id: MessageId,
        slot: Option<usize>,
    ) -> Result<(), Gone> {
        self.answer_with(slot, |outbox| outbox.onwards.push(topic, body, id))
    }

    fn answer_with(&self, slot: Option<usize>, queue: impl FnOnce(&mut Outbox)) -> Result<(), Gone> {
        let mut outbox = self.outbox();
        let is_last = outbox.answer();
        if let (Some(slot), Some(held)) = (slot, &mut outbox.held) {
            held.release(slot);
        }
        let is_open = outbox.is_open;
        if is_open {
            queue(&mut outbox);
            self.wake(outbox);
        } else {
            drop(outbox);
        }
        self.answered(is_last);
        if is_open { Ok(()) } else { Err(Gone) }
    }

    fn answered(&self, is_last: Last) {
        match is_last {
            Last::No => {}
            Last::Yes => self.all_answered.notify_waiters(),
            Last::AndNoneShallCome => {
                self.all_answered.notify_waiters();
                // Another connection may be waiting for this one to have nothing out.
                self.outcomes.news.notify_one();
            }
        }
    }

    /// Wakes the writer if there is something to write that it does not know of.
    fn wake(&self, mut outbox: MutexGuard<'_, Outbox>) {
        let has_news = !outbox.bytes.is_empty() || !outbox.onwards.is_empty() || outbox.flow.is_due();
        let wakes = !outbox.is_awake && (has_news || !outbox.is_timed && outbox.flow.look_at().is_some());
        outbox.is_awake |= wakes;
        drop(outbox);
        if wakes {
            self.filled.notify_one();
        }
    }

    /// How many deliveries are not answered, those that wait to be handed out included.
    pub(super) fn unanswered(&self) -> usize {
        self.outbox().flow.in_flight()
    }

    /// The broker has confirmed a publish; `false` when there was none.
    pub(super) fn confirmed(&self) -> bool {
        self.outbox().onwards.confirm()
    }

    /// Waits until every delivery is answered, or can no longer be.
    pub(super) async fn all_answered(&self) {
        loop {
            let answered = self.all_answered.notified();
            if self.unanswered() == 0 || self.is_lost() {
                return;
            }
            tokio::select! {
                () = answered => {}
                () = self.done.cancelled() => return,
            }
        }
    }

    /// Asks the broker to end the subscription and waits until it has.
    pub(super) async fn unsubscribe(&self) {
        if self.send(&Command::Cls).is_ok() {
            self.done.cancelled().await;
        }
    }

    /// The broker has ended the subscription.
    pub(super) fn unsubscribed(&self) {
        self.done.cancel();
    }

    /// Nothing more shall come on this connection; what was handed out is still to be answered on it.
    pub(super) fn release(&self) {
        self.is_wanted.store(false, Ordering::Release);
        self.released.cancel();
        self.set_limit(0);
    }

    /// Waits until nothing more shall come.
    pub(super) async fn released(&self) {
        self.released.cancelled().await;
    }

    /// Whether what came on this connection is worth handing out.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    /// The connection is gone: nothing can be answered on it any more.
    pub(super) fn lose(&self) {
        self.outbox().is_open = false;
        self.is_wanted.store(false, Ordering::Release);
        self.is_lost.store(true, Ordering::Release);
        self.done.cancel();
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a consumer's connection writes next.
#[derive(Debug)]
pub(super) struct Answers {
    link: Arc<Link>,
    /// One timer for as long as the connection lives: it is set again only when it has fired, however often the
    /// moment that it waits for is put off.
    timer: Pin<Box<Sleep>>,
}

impl Answers {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            timer: Box::pin(sleep_until(Instant::now())),
        }
    }
}

impl Outgoing for Answers {
    async fn ready(&mut self) {
        let is_timed = {
            let mut outbox = self.link.outbox();
            if !outbox.is_timed
                && let Some(look_at) = outbox.flow.look_at()
            {
                self.timer.as_mut().reset(look_at);
                outbox.is_timed = true;
            }
            outbox.is_timed
        };
        tokio::select! {
            biased;
            () = self.link.filled.notified() => {}
            () = &mut self.timer, if is_timed => self.link.outbox().is_timed = false,
        }
    }

    fn fill(&mut self, _position: u64, buffer: &mut BytesMut) {
        let mut outbox = self.link.outbox();
        outbox.is_awake = false;
        let rdy = |ready| Command::Rdy(ready as u64);
        let told = outbox.flow.told();
        let ready = outbox.flow.update(Instant::now());
        // Fewer before the answers, more after them: the broker shall not send on what is no longer meant.
        if let Some(fewer) = ready.filter(|ready| *ready < told) {
            rdy(fewer).encode(buffer);
        }
        // Before the rest, which may end with the request to close.
        outbox.onwards.encode(buffer);
        if buffer.is_empty() {
            std::mem::swap(&mut outbox.bytes, buffer);
        } else {
            buffer.extend_from_slice(&outbox.bytes);
            outbox.bytes.clear();
        }
        if let Some(more) = ready.filter(|ready| *ready >= told) {
            rdy(more).encode(buffer);
        }
    }
}
