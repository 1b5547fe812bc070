//! What a caller has received of one stream.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::reassembly::{Reassembly, Unasked};
use crate::{
    error::RemoteError,
    id::Id,
    wire::{Reply, StreamEnd, StreamItems},
};

/// One stream that is being read.
#[derive(Debug)]
pub(super) struct OpenStream {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window: u32,
    /// The node that took the call, and that the items come through.
    node: Option<Arc<str>>,
    run: Option<Run>,
    items: Reassembly<Bytes>,
    /// How many items the service was told it may send.
    granted: u64,
    /// What comes after the items.
    end: Option<End>,
    /// When the service was last heard of, with nothing missing.
    heard: Instant,
    reader: Option<Waker>,
}

/// A run of the procedure, by one instance.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) id: Id,
    attempt: u16,
    pub(super) instance: Id,
    pub(super) node: Arc<str>,
}

/// What comes after the items that are here.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// The service said so.
    Said(StreamEnd),
    /// The answer to the call, and no stream.
    Answered(Result<(), RemoteError>),
    Failed(Failure),
}

/// Why no more items come.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The call is run again, and items of the first run have been taken.
    BegunAnew,
    /// The service sent what it was not asked for.
    Unasked,
    NodeLost(Arc<str>),
    SessionLeft,
}

/// What the service is to be told of one run: how many items it may send in all, or that nobody reads it.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) to: Run,
    pub(super) up_to: Option<u64>,
}

/// What there is to take.
#[derive(Debug)]
pub(super) enum Taken {
    Item(Bytes, Option<Word>),
    End(End),
    /// Nothing, since the service was heard of at this time. The reader is woken when there is.
    Nothing(Instant),
}

impl OpenStream {
    pub(super) fn new(window: u32) -> Self {
        Self {
            state: Mutex::new(State {
                window,
                node: None,
                run: None,
                items: Reassembly::new(window),
                granted: window.into(),
                end: None,
                heard: Instant::now(),
                reader: None,
            }),
        }
    }

    /// Notes which node took the call.
    pub(super) fn taken_by(&self, node: Option<Arc<str>>) {
        let mut state = self.state();
        state.node = state.node.take().or(node);
    }

    /// The run that is being read.
    pub(super) fn run(&self) -> Option<Run> {
        self.state().run.clone()
    }

    /// Whether the end has come, so that the service need not be told to stop.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state().end, Some(End::Said(_) | End::Answered(_)))
    }

    /// Takes in what came through `node`, and says what the service is to be told.
    pub(super) fn receive(&self, message: StreamItems, node: &Arc<str>) -> Vec<Word> {
        let sender = Run {
            id: message.run,
            attempt: message.attempt,
            instance: message.session_id,
            node: Arc::clone(node),
        };
        self.state().receive(message, sender)
    }

    /// Takes in an answer that is no stream. One that is not of the run that is being read is another delivery's.
    pub(super) fn answered(&self, reply: Reply) {
        let mut state = self.state();
        if state.run.is_none() {
            state.end_with(End::Answered(reply.outcome.map(drop)));
        }
    }

    /// Ends the stream if it comes through `node`.
    pub(super) fn node_lost(&self, node: &Arc<str>) {
        let mut state = self.state();
        if state.node.as_ref() == Some(node) {
            state.end_with(End::Failed(Failure::NodeLost(Arc::clone(node))));
        }
    }

    /// Ends the stream.
    pub(super) fn close(&self) {
        self.state().end_with(End::Failed(Failure::SessionLeft));
    }

    /// The next item or the end, if it is here.
    pub(super) fn take(&self, reader: &Waker) -> Taken {
        let mut state = self.state();
        if let Some(item) = state.items.take() {
            let word = state.grant();
            return Taken::Item(item, word);
        }
        match &state.end {
            Some(end) if state.items.is_done() || !matches!(end, End::Said(_)) => Taken::End(end.clone()),
            _ => {
                match &mut state.reader {
                    Some(known) => known.clone_from(reader),
                    none => *none = Some(reader.clone()),
                }
                Taken::Nothing(state.heard)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, so the state is whole even if the lock says poisoned.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn receive(&mut self, message: StreamItems, sender: Run) -> Vec<Word> {
        let nobody_reads = |to: Run| Word { to, up_to: None };
        let mut words = Vec::new();
        match &self.run {
            Some(run) if run.id == sender.id => {}
            // Another delivery of the call that is no later one.
            Some(run) if sender.attempt <= run.attempt => return vec![nobody_reads(sender)],
            Some(_) if self.items.taken() > 0 => {
                self.end_with(End::Failed(Failure::BegunAnew));
                return vec![nobody_reads(sender)];
            }
            // Nobody has seen anything of the run before: it may as well not have been.
            before => {
                words.extend(before.clone().map(nobody_reads));
                self.items = Reassembly::new(self.window);
                self.granted = self.window.into();
                self.end = None;
                self.node = Some(Arc::clone(&sender.node));
                self.run = Some(sender.clone());
                self.heard = Instant::now();
            }
        }
        if matches!(self.end, Some(End::Answered(_) | End::Failed(_))) {
            return words;
        }
        let sent = message.first.saturating_add(message.items.len() as u64);
        let is_sign_of_life = message.items.is_empty() && message.end.is_none();
        let received = self.items.insert(message.first, message.items);
        let ends = message.end.map(|end| (end, self.items.ends_at(sent)));
        match (received, ends) {
            (Err(Unasked), _) | (_, Some((_, Err(Unasked)))) => {
                self.end_with(End::Failed(Failure::Unasked));
                words.push(nobody_reads(sender));
                return words;
            }
            (Ok(_), Some((end, Ok(())))) => self.end_with(End::Said(end)),
            (Ok(true), None) => self.wake(),
            (Ok(false), None) => {}
        }
        // Where something is missing, that more comes is no comfort.
        if self.items.has_all(sent) {
            self.heard = Instant::now();
        }
        if is_sign_of_life {
            self.granted = self.items.up_to();
            words.push(Word {
                to: sender,
                up_to: Some(self.granted),
            });
        }
        words
    }

    /// Lets the service send more once half of the window is free, so that it need not stop where the reader does not.
    fn grant(&mut self) -> Option<Word> {
        let up_to = self.items.up_to();
        let due = u64::from(self.window.div_ceil(2));
        if self.end.is_some() || up_to.saturating_sub(self.granted) < due {
            return None;
        }
        let to = self.run.clone()?;
        self.granted = up_to;
        Some(Word {
            to,
            up_to: Some(up_to),
        })
    }

    /// What ends the stream first counts; but an end that waits for items which will not come does not.
    fn end_with(&mut self, end: End) {
        let waits = matches!(self.end, Some(End::Said(_))) && !self.items.is_whole();
        if self.end.is_none() || waits && matches!(end, End::Failed(_)) {
            self.end = Some(end);
        }
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
