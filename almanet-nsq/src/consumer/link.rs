//! One connection of a consumer, as its deliveries see it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use almanet_nsq_proto::Command;
use bytes::BytesMut;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::connection::Outgoing;

/// Where the answers to the messages of one connection go. It lives exactly as long as the connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) address: Arc<str>,
    /// What the broker granted: an unanswered message is delivered again after it.
    pub(super) msg_timeout: Duration,
    /// The largest RDY that the broker takes.
    pub(super) max_ready: usize,
    outbox: Mutex<Outbox>,
    filled: Notify,
    is_lost: AtomicBool,
    /// Whether what came on this connection can and shall still be worked on.
    is_wanted: AtomicBool,
    released: CancellationToken,
    /// Deliveries that are not answered, those that wait to be handed out included.
    unanswered: AtomicUsize,
    all_answered: Notify,
    /// The broker will send no message any more: it said so, or the connection is gone.
    done: CancellationToken,
}

#[derive(Debug)]
struct Outbox {
    /// Commands as they travel, a few for each message that the broker may have out.
    bytes: BytesMut,
    ready: usize,
    is_open: bool,
}

/// The connection that a command was meant for is gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Link {
    pub(super) fn new(address: Arc<str>, msg_timeout: Duration, max_ready: usize) -> Self {
        Self {
            address,
            msg_timeout,
            max_ready,
            outbox: Mutex::new(Outbox {
                bytes: BytesMut::new(),
                ready: 0,
                is_open: true,
            }),
            filled: Notify::new(),
            is_lost: AtomicBool::new(false),
            is_wanted: AtomicBool::new(true),
            released: CancellationToken::new(),
            unanswered: AtomicUsize::new(0),
            all_answered: Notify::new(),
            done: CancellationToken::new(),
        }
    }

    /// Queues a command.
    pub(super) fn send(&self, command: &Command) -> Result<(), Gone> {
        self.queue(self.outbox(), command)
    }

    /// Tells the broker how many messages it may have out, where that is news to it.
    pub(super) fn set_ready(&self, ready: usize) {
        let mut outbox = self.outbox();
        if outbox.ready != ready {
            outbox.ready = ready;
            // On a connection that is gone there is nothing to make ready.
            let _ = self.queue(outbox, &Command::Rdy(ready as u64));
        }
    }

    fn queue(&self, mut outbox: MutexGuard<'_, Outbox>, command: &Command) -> Result<(), Gone> {
        if !outbox.is_open {
            return Err(Gone);
        }
        let was_empty = outbox.bytes.is_empty();
        command.encode(&mut outbox.bytes);
        drop(outbox);
        if was_empty {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Counts a message that came in.
    pub(super) fn delivered(&self) {
        self.unanswered.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a message that was answered, by whatever answer.
    pub(super) fn answered(&self) {
        if self.unanswered.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all_answered.notify_waiters();
        }
    }

    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Acquire)
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
        self.set_ready(0);
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
pub(super) struct Answers(pub(super) Arc<Link>);

impl Outgoing for Answers {
    async fn ready(&mut self) {
        self.0.filled.notified().await;
    }

    fn fill(&mut self, _position: u64, buffer: &mut BytesMut) {
        let mut outbox = self.0.outbox();
        if buffer.is_empty() {
            std::mem::swap(&mut outbox.bytes, buffer);
        } else {
            buffer.extend_from_slice(&outbox.bytes);
            outbox.bytes.clear();
        }
    }
}
