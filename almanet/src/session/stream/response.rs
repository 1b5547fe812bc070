//! A stream as its caller reads it.

use std::{
    fmt,
    marker::PhantomData,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{
    open::{End, Failure, Taken},
    streams::{self, ReadStream},
};
use crate::{
    error::{CallError, RemoteError, RpcError},
    session::{
        attempt::Failed,
        call::{is_failure, raised},
        circuit::Admitted,
        inherit::Inherited,
        outbox::{Outbox, Outgoing},
        shared::Shared,
    },
    telemetry::CallSpan,
    uri::Uri,
    wire::Payload,
};

/// The items that a procedure sends, in order and each once.
///
/// It ends with `None` when the procedure has sent all of them, and after an error. The service sends only as many items
/// ahead as it has [credit](crate::StreamCall::credit) for, so whoever reads slowly slows the procedure down. Dropped
/// before its end, the stream is cancelled: the procedure's own stream is dropped as soon as the service hears of it.
///
/// It is a [`Stream`], and [`next`](Self::next) reads it without any other crate.
///
/// # Errors
///
/// What each item can be instead, as the last one:
///
/// - [`CallError::Remote`]: the procedure returned an error, or its stream did. All items before it came.
/// - [`CallError::Timeout`]: the service has been silent for as long as the [timeout](crate::StreamCall::timeout) says.
/// - [`CallError::Interrupted`]: the instance that sent it was stopped or lost, and items of it have been taken. A stream of
///   which nothing was taken begins anew by itself, at another instance.
/// - [`CallError::Disconnected`]: the broker that the items come through was lost.
/// - [`CallError::NotAStream`]: the procedure has answered with one value.
/// - [`CallError::Decode`]: an item is not a `T`.
/// - the others of [`CallError`], as for any call.
#[must_use = "a stream is cancelled when it is dropped"]
pub struct ResponseStream<T, E = RemoteError> {
    reading: Option<Reading>,
    span: Option<CallSpan>,
    items: PhantomData<fn() -> Result<T, E>>,
}

impl<T, E> ResponseStream<T, E>
where
    T: DeserializeOwned,
    E: RpcError,
{
    pub(super) fn new(reading: Reading, span: Option<CallSpan>) -> Self {
        Self {
            reading: Some(reading),
            span,
            items: PhantomData,
        }
    }

    /// The next item; `None` when there are no more.
    ///
    /// # Errors
    ///
    /// See [`ResponseStream`]. Nothing comes after an error.
    ///
    /// # Cancel safety
    ///
    /// Safe: no item is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<T, CallError<E>>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn ended(&mut self, error: Option<&CallError<E>>) {
        if let Some(admitted) = self
            .reading
            .take()
            .and_then(|mut reading| reading.admitted.take())
        {
            admitted.ended(error.is_some_and(is_failure));
        }
        if let Some(span) = self.span.take() {
            span.ended(error.map_or("ok", CallError::outcome));
        }
    }
}

impl<T, E> Stream for ResponseStream<T, E>
where
    T: DeserializeOwned,
    E: RpcError,
{
    type Item = Result<T, CallError<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let item = ready!(reading.poll_next(cx));
        let procedure = || reading.procedure.clone();
        let item = match item {
            Next::Item(payload) => payload.decode().map_err(|source| CallError::Decode {
                procedure: procedure(),
                source,
            }),
            Next::End => {
                self.ended(None);
                return Poll::Ready(None);
            }
            Next::Raised(error) => Err(raised(procedure(), error, reading.heard)),
            Next::NotAStream => Err(CallError::NotAStream {
                procedure: procedure(),
            }),
            Next::Interrupted(reason) => Err(CallError::Interrupted {
                procedure: procedure(),
                reason: reason.to_owned(),
            }),
            Next::Failed(failed) => Err(failed.into_error(procedure(), reading.heard)),
        };
        if let Err(error) = &item {
            self.ended(Some(error));
        }
        Poll::Ready(Some(item))
    }
}

impl<T, E> Unpin for ResponseStream<T, E> {}

impl<T, E> fmt::Debug for ResponseStream<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseStream")
            .field(
                "procedure",
                &self.reading.as_ref().map(|reading| &reading.procedure),
            )
            .finish_non_exhaustive()
    }
}

/// A stream that is being read, without its types. Dropped before the end, it is cancelled.
pub(in crate::session) struct Reading {
    procedure: Uri,
    /// The stream is a clone of its session: it can be read when the others have been dropped.
    shared: Arc<Shared>,
    read: ReadStream,
    outbox: Outbox,
    /// How long the service may be silent.
    silence: Duration,
    /// When it was last heard of.
    heard: Instant,
    wake_up: Pin<Box<Sleep>>,
    deadline: Option<Instant>,
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    admitted: Option<Box<Admitted>>,
}

/// What comes next in a stream.
enum Next {
    Item(Payload),
    End,
    Raised(RemoteError),
    NotAStream,
    Interrupted(&'static str),
    Failed(Failed),
}

impl Reading {
    pub(super) fn new(
        procedure: Uri,
        shared: Arc<Shared>,
        read: ReadStream,
        outbox: Outbox,
        silence: Duration,
        inherited: Option<Inherited>,
        admitted: Option<Box<Admitted>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            procedure,
            shared,
            read,
            outbox,
            silence,
            heard: now,
            wake_up: Box::pin(sleep_until(now)),
            deadline: inherited.as_ref().and_then(|inherited| inherited.deadline),
            cancelled: inherited.map(|inherited| Box::pin(inherited.cancelled().clone().cancelled_owned())),
            admitted,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(cancelled) = &mut self.cancelled
            && cancelled.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Next::Failed(Failed::Cancelled));
        }
        loop {
            match self.read.stream.take(cx.waker()) {
                Taken::Item(item, word) => {
                    if let Some(word) = word {
                        let outgoing = streams::outgoing(self.read.call_id, self.shared.id, word);
                        self.outbox.send(outgoing);
                    }
                    return Poll::Ready(Next::Item(Payload::from_bytes(self.shared.codec, item)));
                }
                Taken::End(end) => return Poll::Ready(self.end(end)),
                Taken::Nothing(heard) => self.heard = heard,
            }
            let now = Instant::now();
            let silent = self.heard.checked_add(self.silence);
            let until = [silent, self.deadline].into_iter().flatten().min();
            let Some(until) = until else { return Poll::Pending };
            if until <= now {
                return Poll::Ready(Next::Failed(Failed::TimedOut));
            }
            if self.wake_up.deadline() != until {
                self.wake_up.as_mut().reset(until);
            }
            ready!(pin!(&mut self.wake_up).poll(cx));
        }
    }

    fn end(&self, end: End) -> Next {
        match end {
            End::Said(end) => match end.into_result(self.shared.codec) {
                Ok(()) => Next::End,
                Err(error) => Next::Raised(error),
            },
            End::Answered(Ok(())) => Next::NotAStream,
            End::Answered(Err(error)) => Next::Raised(error),
            End::Failed(Failure::BegunAnew) => {
                Next::Interrupted("the instance that sent it was lost, and the call is run again")
            }
            End::Failed(Failure::Unasked) => Next::Interrupted("the service sent more than it was asked for"),
            End::Failed(Failure::NodeLost(node)) => Next::Failed(Failed::Disconnected(node)),
            End::Failed(Failure::SessionLeft) => Next::Failed(Failed::SessionLeft),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.read.stream.has_ended() {
            return;
        }
        if let Some(run) = self.read.stream.run() {
            let cancel = Outgoing::cancel(self.read.call_id, self.shared.id, run.instance, &run.node);
            self.outbox.send(cancel);
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("procedure", &self.procedure)
            .finish_non_exhaustive()
    }
}
