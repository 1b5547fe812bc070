//! What goes out to one client: frames gather here and leave together.

use std::{io, sync::Arc};

use almanet_nsq_proto::Frame;
use bytes::{Buf, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use tokio::{net::tcp::OwnedWriteHalf, sync::Notify};

/// Beyond this many unsent bytes, a client gets no messages until it has read.
const FULL: usize = 1024 * 1024;

/// A buffer of more than this is given back once it is sent.
const KEPT_CAPACITY: usize = 256 * 1024;

/// How often one flush writes before it leaves the rest to the client's own task.
const FLUSH_ROUNDS: usize = 4;

/// How many clients one step writes to by itself; the others' own tasks are woken, and run in parallel.
const INLINE_FLUSHES: usize = 16;

/// The frames for one client that are not sent yet, and its socket.
///
/// Whoever has written frames flushes them: without a detour over another task, when the socket takes them. When it
/// does not, the rest is left to the client's own task ([`work`](Self::work)). Frames that come while somebody is
/// in the system call are sent by that one afterwards, all together.
///
/// When the connection is [upgraded](Self::upgraded), encrypting and compressing are the client's own task's, and
/// flushing only wakes it.
#[derive(Debug)]
pub(crate) struct Output {
    /// `None` when the connection is upgraded: then frames are [taken](Self::take).
    socket: Option<OwnedWriteHalf>,
    state: Mutex<State>,
    /// Wakes [`work`](Self::work).
    wake: Notify,
    /// Wakes [`drained`](Self::drained).
    drained: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Frames that nobody has begun to send.
    pending: BytesMut,
    /// What is left of the frames that were begun to be sent.
    unsent: BytesMut,
    /// How many bytes were taken to be sent in another form, and are not sent yet.
    taken: usize,
    /// Whether somebody is in the system call; both buffers are still theirs to send.
    sending: bool,
    /// Whether the socket takes no more for now.
    blocked: bool,
    /// Whether a step has noted to flush.
    touched: bool,
    /// Whether a channel was told that there is no room.
    refused: bool,
    /// Whether somebody waits for [`drained`](Output::drained).
    awaited: bool,
    /// Why nothing can be sent any more.
    broken: Option<io::ErrorKind>,
}

/// What the client's own task has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Wait until the socket takes more, then [`flush_blocked`](Output::flush_blocked).
    AwaitSocket,
    /// Tell the channel that there is room again.
    AnnounceRoom,
    /// Send what the upgraded connection has [to be taken](Output::take).
    Deliver,
    /// End the connection.
    End(io::ErrorKind),
}

impl Output {
    pub(super) fn plain(socket: OwnedWriteHalf) -> Arc<Self> {
        Self::new(Some(socket))
    }

    /// For a connection on which frames travel in another form.
    pub(super) fn upgraded() -> Arc<Self> {
        Self::new(None)
    }

    fn new(socket: Option<OwnedWriteHalf>) -> Arc<Self> {
        Arc::new(Self {
            socket,
            state: Mutex::default(),
            wake: Notify::new(),
            drained: Notify::new(),
        })
    }

    /// The socket of a plain connection.
    pub(super) fn into_socket(self) -> Option<OwnedWriteHalf> {
        self.socket
    }

    /// Takes what an upgraded connection has to send; `None` when that is nothing.
    pub(super) fn take(&self) -> Option<BytesMut> {
        let mut state = self.state.lock();
        let frames = state.pending.split();
        if frames.len() > KEPT_CAPACITY {
            state.pending = BytesMut::new();
        }
        state.taken = frames.len();
        (!frames.is_empty()).then_some(frames)
    }

    /// Notes that what was [taken](Self::take) is sent.
    pub(super) fn sent(&self) {
        let mut state = self.state.lock();
        state.taken = 0;
        self.tell_drained(&mut state);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().length() == 0
    }

    /// Writes a frame, to be sent at the end of the step.
    pub(super) fn write(self: &Arc<Self>, frame: &Frame, touched: &mut Touched) {
        let mut state = self.state.lock();
        self.append(&mut state, frame, touched);
    }

    /// Writes a message, unless the client has too much to read already.
    pub(super) fn offer(self: &Arc<Self>, frame: &Frame, touched: &mut Touched) -> bool {
        let mut state = self.state.lock();
        if state.length() > FULL {
            state.refused = true;
            return false;
        }
        self.append(&mut state, frame, touched);
        true
    }

    fn append(self: &Arc<Self>, state: &mut State, frame: &Frame, touched: &mut Touched) {
        if state.broken.is_some() {
            return;
        }
        frame.encode(&mut state.pending);
        if !state.touched {
            state.touched = true;
            touched.0.push(Arc::clone(self));
        }
    }

    /// Whether the client has so much to read that its commands have to wait.
    pub(super) fn is_full(&self) -> bool {
        self.state.lock().length() > FULL
    }

    /// Sends what is there, unless the socket is known to take nothing.
    pub(super) fn flush(&self) {
        let mut state = self.state.lock();
        state.touched = false;
        if !state.blocked {
            self.send(state);
        }
    }

    /// Sends what is there, now that the socket takes more.
    pub(super) fn flush_blocked(&self) {
        let mut state = self.state.lock();
        state.blocked = false;
        self.send(state);
    }

    fn send<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        if state.sending || state.broken.is_some() {
            return;
        }
        let Some(socket) = &self.socket else {
            self.wake.notify_one();
            return;
        };
        for _ in 0..FLUSH_ROUNDS {
            if state.unsent.is_empty() {
                let State { pending, unsent, .. } = &mut *state;
                std::mem::swap(pending, unsent);
            }
            if state.unsent.is_empty() {
                break;
            }
            let mut bytes = std::mem::take(&mut state.unsent);
            let is_large = bytes.capacity() > KEPT_CAPACITY;
            state.sending = true;
            drop(state);

            let written = socket.try_write(&bytes);

            state = self.state.lock();
            state.sending = false;
            match written {
                Ok(length) if length < bytes.len() => bytes.advance(length),
                Ok(_) => bytes.clear(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => state.blocked = true,
                Err(error) => {
                    state.broken = Some(error.kind());
                    bytes.clear();
                    state.pending.clear();
                }
            }
            if !bytes.is_empty() || !is_large {
                state.unsent = bytes;
            }
            if state.blocked || state.broken.is_some() {
                break;
            }
        }
        self.tell_drained(&mut state);
        if state.needs_task() {
            self.wake.notify_one();
        }
    }

    fn tell_drained(&self, state: &mut State) {
        if state.awaited && state.length() <= FULL / 2 {
            state.awaited = false;
            self.drained.notify_one();
        }
    }

    /// Ends the connection without sending what is there, as nsqd does with the subscribers of a deleted channel.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.broken = Some(io::ErrorKind::ConnectionAborted);
        state.pending.clear();
        state.unsent.clear();
        self.wake.notify_one();
        self.drained.notify_one();
    }

    #[cfg(test)]
    pub(super) fn is_ended(&self) -> bool {
        self.state.lock().broken.is_some()
    }

    /// Waits for something that the client's own task has to do.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(super) async fn work(&self) -> Work {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(kind) = state.broken {
                    return Work::End(kind);
                }
                if state.refused && state.length() <= FULL / 2 {
                    state.refused = false;
                    return Work::AnnounceRoom;
                }
                if state.blocked {
                    return Work::AwaitSocket;
                }
                if self.socket.is_none() {
                    if state.length() > 0 {
                        return Work::Deliver;
                    }
                } else {
                    self.send(state);
                }
            }
            self.wake.notified().await;
        }
    }

    /// Waits until the client has read most of what it has to.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(super) async fn drained(&self) {
        loop {
            {
                let mut state = self.state.lock();
                if state.length() <= FULL / 2 || state.broken.is_some() {
                    return;
                }
                state.awaited = true;
            }
            self.drained.notified().await;
        }
    }

    /// Waits until the socket takes more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match &self.socket {
            Some(socket) => socket.writable().await,
            None => Ok(()),
        }
    }

    /// Sends everything on a plain connection, however often it takes.
    ///
    /// # Cancel safety
    ///
    /// What was not sent yet stays.
    pub(super) async fn drain(&self) {
        while self.socket.is_some() {
            self.flush_blocked();
            {
                let state = self.state.lock();
                if state.broken.is_some() || state.length() == 0 && !state.sending {
                    return;
                }
            }
            if self.writable().await.is_err() {
                return;
            }
        }
    }
}

impl State {
    fn length(&self) -> usize {
        self.pending.len() + self.unsent.len() + self.taken
    }

    /// Whether there is something left that only the client's own task can do.
    fn needs_task(&self) -> bool {
        self.blocked || self.broken.is_some() || self.refused || self.length() > 0
    }
}

/// The outputs that a step wrote to, each once.
#[derive(Debug, Default)]
pub(crate) struct Touched(Vec<Arc<Output>>);

impl Touched {
    /// Sends what the step wrote.
    pub(crate) fn flush(self) {
        let mut outputs = self.0.into_iter();
        for output in outputs.by_ref().take(INLINE_FLUSHES) {
            output.flush();
        }
        for output in outputs {
            output.state.lock().touched = false;
            output.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_on_its_way_to_an_upgraded_client_counts_until_it_is_sent() {
        let output = Output::upgraded();
        let frame = Frame::Response(vec![b'x'; 64 * 1024].into());
        let mut touched = Touched::default();
        while output.offer(&frame, &mut touched) {}
        touched.flush();
        let frames = output.take().unwrap();
        assert!(frames.len() > FULL);
        let mut touched = Touched::default();
        assert!(!output.offer(&frame, &mut touched));
        assert_eq!(output.work().await, Work::Deliver);
        assert!(!output.is_empty());
        output.sent();
        assert_eq!(output.work().await, Work::AnnounceRoom);
        assert!(output.is_empty());
        assert!(output.offer(&frame, &mut touched));
    }
}
