//! The thread on which a blocking session lives.

use std::{
    io,
    sync::mpsc::sync_channel,
    task::{Context, Waker},
    thread::{Builder, JoinHandle},
};

use tokio::{
    runtime::{self, Handle},
    task::coop::poll_proceed,
};
use tokio_util::sync::CancellationToken;

/// Why an operation of a blocking session failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E: std::error::Error + 'static> {
    /// The operation itself failed.
    #[error(transparent)]
    Operation(#[from] E),
    /// It was asked for in an async task, where waiting would keep others from running. Nothing was done.
    #[error(
        "a blocking session cannot be used in an async task: use `almanet::Session` there, or `spawn_blocking`"
    )]
    WithinAsync,
    /// The thread of the session could not be started.
    #[error("the thread of a blocking session cannot be started")]
    Thread(#[source] io::Error),
    /// The operation panicked, in the code that writes or reads the values.
    #[error("the operation panicked")]
    Panicked,
}

/// A runtime on a thread of its own, which ends with it.
#[derive(Debug)]
pub(super) struct Engine {
    handle: Handle,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = Builder::new()
            .name("almanet-blocking".to_owned())
            .spawn(move || runtime.block_on(stopped.cancelled()))?;
        Ok(Self {
            handle,
            stop,
            thread: Some(thread),
        })
    }

    /// Runs `future` on the thread, and waits for what comes of it.
    pub(super) fn wait<F, E>(&self, future: F) -> Result<F::Output, Error<E>>
    where
        F: Future<Output: Send> + Send + 'static,
        E: std::error::Error,
    {
        if is_within_async() {
            return Err(Error::WithinAsync);
        }
        let (sender, receiver) = sync_channel(1);
        self.handle.spawn(async move {
            // An error says that nobody waits any more.
            let _ = sender.send(future.await);
        });
        receiver.recv().map_err(|_| Error::Panicked)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.cancel();
        let thread = self.thread.take();
        if let (Some(thread), false) = (thread, is_within_async()) {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

/// Whether this is where an async task of tokio runs.
///
/// A thread of `spawn_blocking` belongs to a runtime too, and may block. What tells them apart is that a task may only do
/// so much before it has to let others run, and that this budget comes to an end.
pub(super) fn is_within_async() -> bool {
    /// More than tokio ever gives to a task (128).
    const MORE_THAN_ANY_BUDGET: usize = 256;
    if Handle::try_current().is_err() {
        return false;
    }
    let mut context = Context::from_waker(Waker::noop());
    let mut spent = Vec::with_capacity(MORE_THAN_ANY_BUDGET);
    let bounded = (0..MORE_THAN_ANY_BUDGET).any(|_| {
        let proceed = poll_proceed(&mut context);
        let ended = proceed.is_pending();
        spent.push(proceed);
        ended
    });
    // Each gives back what it has spent, so the last comes first.
    while spent.pop().is_some() {}
    bounded
}
