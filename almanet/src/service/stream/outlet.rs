//! The way out for the items of one run.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use almanet_nsq::TopicName;
use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

use crate::{
    id::Id,
    session::{Granted, Session, StreamRun},
    transport::{Delivery, Publication, PublishError},
    wire::{Codec, Invocation, STREAM_CREDIT, StreamEnd, StreamItems},
};

/// Items leave together up to so many bytes; a larger one leaves alone. What a broker takes is sixteen times as much.
const PART_BYTES: usize = 64 * 1024;

/// The most items that leave together.
const PART_ITEMS: usize = 256;

/// The longest time between two signs of life.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// When the caller is told for the first time that its stream is under way, unless items have told it.
const FIRST_SIGN: Duration = Duration::from_millis(100);

/// For how long a caller may be silent, however long it waits itself. It answers each sign of life.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// What a caller has asked for that wants a stream.
#[derive(Debug)]
pub(in crate::service) struct Asked {
    call_id: Id,
    caller: Id,
    topic: TopicName,
    codec: Codec,
    credit: u64,
    silence: Duration,
}

impl Asked {
    /// What `invocation` asks for; `None` when its caller wants one value.
    pub(in crate::service) fn of(invocation: &Invocation) -> Option<Self> {
        let credit = invocation.headers.get(STREAM_CREDIT)?.parse().ok()?;
        let topic = invocation.reply_topic.clone()?;
        let silence = invocation.timeout.unwrap_or(LONGEST_SILENCE);
        invocation.takes_control.then_some(Self {
            call_id: invocation.id,
            caller: invocation.caller_id,
            topic,
            codec: invocation.payload.codec(),
            credit,
            silence: silence.min(LONGEST_SILENCE),
        })
    }
}

/// The way out for the items of one run, and what waits there.
pub(in crate::service) struct Outlet {
    asked: Asked,
    run: StreamRun,
    session_id: Id,
    attempt: u16,
    node: Arc<str>,
    waiting: Mutex<Waiting>,
}

/// What the broker has not confirmed.
#[derive(Default)]
struct Waiting {
    /// How many items it has confirmed, which is the number of the first that waits.
    confirmed: u64,
    items: VecDeque<Bytes>,
    bytes: usize,
    /// How many of them are on their way.
    leaving: usize,
    /// Whether the broker could not be reached.
    cut: bool,
}

impl Outlet {
    /// The way out for what `session` is about to send because of `delivery`.
    pub(in crate::service) fn new(asked: Asked, session: &Session, delivery: &Delivery) -> Self {
        Self {
            run: session.enter_stream_run(asked.caller, asked.credit),
            session_id: session.id(),
            attempt: delivery.attempts,
            node: Arc::clone(&delivery.node),
            waiting: Mutex::default(),
            asked,
        }
    }

    /// The codec of the items.
    pub(super) fn codec(&self) -> Codec {
        self.asked.codec
    }

    /// Where the caller listens.
    pub(super) fn topic(&self) -> &TopicName {
        &self.asked.topic
    }

    /// What the caller has said.
    pub(super) fn granted(&self) -> watch::Receiver<Granted> {
        self.run.granted.subscribe()
    }

    /// How many more items may be made: as the caller lets, and as many as leave together at most.
    pub(super) fn room(&self) -> usize {
        let up_to = self.run.granted.borrow().up_to;
        let waiting = self.waiting();
        let made = waiting.confirmed.saturating_add(waiting.items.len() as u64);
        let granted = usize::try_from(up_to.saturating_sub(made)).unwrap_or(usize::MAX);
        let behind = waiting.items.len() - waiting.leaving.min(waiting.items.len());
        match waiting.bytes < PART_BYTES {
            true => granted.min(PART_ITEMS.saturating_sub(behind)),
            false => 0,
        }
    }

    /// Adds an item; says whether there is room for another.
    pub(super) fn push(&self, item: Bytes) -> bool {
        let mut waiting = self.waiting();
        waiting.bytes += item.len();
        waiting.items.push_back(item);
        waiting.bytes < PART_BYTES
    }

    /// The next items that leave together, if there are any.
    pub(super) fn next_part(&self) -> Option<StreamItems> {
        let mut waiting = self.waiting();
        let count = waiting.together();
        if count == 0 {
            return None;
        }
        waiting.leaving = count;
        let mut part = self.message(waiting.confirmed);
        part.items = waiting.items.iter().take(count).cloned().collect();
        Some(part)
    }

    /// The next items that leave together, unless they are the last ones, which leave with the end.
    pub(super) fn part_before_the_end(&self) -> Option<StreamItems> {
        let all_together = {
            let waiting = self.waiting();
            waiting.together() == waiting.items.len()
        };
        if all_together { None } else { self.next_part() }
    }

    /// The broker has confirmed what was leaving.
    pub(super) fn left(&self) {
        let mut waiting = self.waiting();
        let count = std::mem::take(&mut waiting.leaving);
        let bytes: usize = waiting.items.drain(..count).map(|item| item.len()).sum();
        waiting.bytes -= bytes;
        waiting.confirmed += count as u64;
    }

    /// The broker refused what was leaving, and so what comes behind is of no use.
    pub(super) fn refused(&self) {
        let mut waiting = self.waiting();
        waiting.items.clear();
        (waiting.bytes, waiting.leaving) = (0, 0);
    }

    /// The broker could not be reached.
    pub(super) fn cut(&self) {
        self.waiting().cut = true;
    }

    /// Whether the broker could not be reached, so that the caller misses something.
    pub(super) fn is_cut(&self) -> bool {
        self.waiting().cut
    }

    /// Whether the caller may have seen an item.
    pub(super) fn has_sent(&self) -> bool {
        let waiting = self.waiting();
        waiting.confirmed > 0 || waiting.leaving > 0
    }

    /// What is left, with the end behind it.
    pub(super) fn end(&self, end: StreamEnd) -> StreamItems {
        let waiting = self.waiting();
        let mut message = self.message(waiting.confirmed);
        message.items = waiting.items.iter().cloned().collect();
        message.end = Some(end);
        message
    }

    /// When the first sign of life is due, counted from the beginning.
    pub(in crate::service) fn first_sign(&self) -> Duration {
        FIRST_SIGN.min(self.pause())
    }

    /// The time between two signs of life: the caller may miss one of them, and the next.
    pub(in crate::service) fn pause(&self) -> Duration {
        (self.asked.silence / 3).clamp(Duration::from_millis(1), LONGEST_PAUSE)
    }

    /// Tells the caller that the stream is alive; its answer tells that it is there.
    pub(in crate::service) fn say_alive(&self, session: &Session) {
        let alive = self.message(self.waiting().confirmed);
        session.say_alive(alive, &self.asked.topic, &self.node);
    }

    /// Whether nobody reads the stream: the caller says so, or has been silent for too long.
    pub(in crate::service) fn is_unread(&self, now: Instant) -> bool {
        let granted = self.run.granted.borrow();
        granted.unread || now.saturating_duration_since(granted.heard) >= self.asked.silence
    }

    /// Publishes `part` through the node by which the call came, where its caller listens.
    pub(super) async fn publish(&self, session: &Session, part: StreamItems) -> Result<(), PublishError> {
        let Ok(body) = part.encode() else { return Ok(()) };
        let publication = Publication::new(self.asked.topic.clone(), body)
            .through(Arc::clone(&self.node))
            // The caller passes over what it has.
            .allow_duplicates();
        session.transport().publish(publication).await
    }

    fn message(&self, first: u64) -> StreamItems {
        let mut message = StreamItems::new(self.asked.call_id, self.session_id, self.run.id);
        message.attempt = self.attempt;
        message.first = first;
        message
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock, so the items are whole even if the lock says poisoned.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// How many of the items leave together: at least one, if there is one.
    fn together(&self) -> usize {
        let mut bytes = 0;
        let fits = |item: &&Bytes| {
            bytes += item.len();
            bytes <= PART_BYTES
        };
        let count = self.items.iter().take(PART_ITEMS).take_while(fits).count();
        count.max(1).min(self.items.len())
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet")
            .field("call_id", &self.asked.call_id)
            .field("run", &self.run.id)
            .finish_non_exhaustive()
    }
}
