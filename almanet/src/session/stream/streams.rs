//! The streams of one session: those that it reads, and those that it sends.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    open::{OpenStream, Word},
    runs::StreamRuns,
};
use crate::{
    id::Id,
    session::{
        inbox::Inbox,
        outbox::{Outbox, Outgoing},
    },
    wire::{Reply, StreamCredit, StreamItems, StreamMessage},
};

/// The streams of one session.
#[derive(Debug, Default)]
pub(in crate::session) struct Streams {
    /// How many are read, so that replies to calls, which come by here too, take no lock when there are none.
    count: AtomicUsize,
    open: Mutex<Open>,
    pub(super) runs: Arc<StreamRuns>,
}

#[derive(Debug, Default)]
struct Open {
    by_call: HashMap<Id, Arc<OpenStream>>,
    closed: bool,
}

impl Streams {
    /// Enters a stream that is read; `None` once the session has been left.
    pub(super) fn enter(self: &Arc<Self>, call_id: Id, window: u32) -> Option<ReadStream> {
        let stream = Arc::new(OpenStream::new(window));
        let mut open = self.lock();
        if open.closed {
            return None;
        }
        open.by_call.insert(call_id, Arc::clone(&stream));
        self.count.store(open.by_call.len(), Ordering::Release);
        Some(ReadStream {
            call_id,
            stream,
            streams: Arc::clone(self),
        })
    }

    /// Takes `reply` if it answers a call that asked for a stream, else gives it back.
    pub(in crate::session) fn take(&self, reply: Reply) -> Option<Reply> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Some(reply);
        }
        match self.find(reply.call_id) {
            Some(stream) => {
                stream.answered(reply);
                None
            }
            None => Some(reply),
        }
    }

    /// Takes in what came through `node` for the session `own`, and answers by `outbox`.
    pub(in crate::session) fn heed(&self, message: StreamMessage, own: Id, node: &Arc<str>, outbox: &Outbox) {
        match message {
            StreamMessage::Credit(credit) => self.runs.heed(credit),
            StreamMessage::Items(items) => self.receive(items, own, node, outbox),
        }
    }

    fn receive(&self, items: StreamItems, own: Id, node: &Arc<str>, outbox: &Outbox) {
        let (call_id, instance) = (items.call_id, items.session_id);
        match self.find(call_id) {
            Some(stream) => {
                for word in stream.receive(items, node) {
                    outbox.send(outgoing(call_id, own, word));
                }
            }
            // The stream is over, unless it does not know so.
            None if items.end.is_none() => {
                outbox.send(Outgoing::cancel(call_id, own, instance, node));
            }
            None => {}
        }
    }

    /// Ends every stream that comes through `node`.
    pub(in crate::session) fn node_lost(&self, node: &Arc<str>) {
        let streams: Vec<_> = self.lock().by_call.values().cloned().collect();
        for stream in streams {
            stream.node_lost(node);
        }
    }

    /// Ends all streams that the session `own` reads, and lets no further ones begin. Those who send them are told.
    pub(in crate::session) fn close(&self, own: Id, inbox: Option<&Inbox>) {
        let streams: Vec<_> = {
            let mut open = self.lock();
            open.closed = true;
            open.by_call
                .iter()
                .map(|(id, stream)| (*id, Arc::clone(stream)))
                .collect()
        };
        for (call_id, stream) in streams {
            stream.close();
            if let (Some(run), Some(inbox), false) = (stream.run(), inbox, stream.has_ended()) {
                let cancel = Outgoing::cancel(call_id, own, run.instance, &run.node);
                inbox.outbox.send(cancel);
            }
        }
    }

    fn find(&self, call_id: Id) -> Option<Arc<OpenStream>> {
        self.lock().by_call.get(&call_id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it holds the lock, so the map is whole even if the lock says poisoned.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tells the service a word about the stream that the session `own` reads.
pub(super) fn outgoing(call_id: Id, own: Id, Word { to, up_to }: Word) -> Outgoing {
    let credit = StreamCredit::new(call_id, own, to.id, up_to);
    Outgoing::credit(credit, to.instance, &to.node)
}

/// A stream's place among those that are read; given up on drop.
#[derive(Debug)]
pub(super) struct ReadStream {
    pub(super) call_id: Id,
    pub(super) stream: Arc<OpenStream>,
    streams: Arc<Streams>,
}

impl Drop for ReadStream {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        open.by_call.remove(&self.call_id);
        self.streams.count.store(open.by_call.len(), Ordering::Release);
    }
}
