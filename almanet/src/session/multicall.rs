//! Calls that many instances answer.

use std::{
    fmt,
    future::{IntoFuture, poll_fn},
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    attempt::Failed,
    call::{Call, raised},
    gather::NotScattered,
    gathered::{Gathered, MulticallEnd, Until},
    layered::{Limits, OutgoingCall, Way, pass},
};
use crate::{
    error::{CallError, RemoteError, RpcError},
    id::Id,
    uri::Uri,
    wire::{Invocation, RESPONDER, Reply},
};

/// A call of a procedure in all its instances, which is about to be made: await it for the [`Answers`] as they come, or
/// [`collect`](Self::collect) them, after settings if there are any.
///
/// All instances of a procedure answer that is [`broadcast`](crate::Procedure::broadcast)
/// (`#[procedure(broadcast)]`). Of a procedure whose instances share a channel, one for each channel answers, since NSQ gives a
/// message to every channel once.
///
/// Nobody knows how many instances there are, so answers are collected for as long as the call's
/// [`timeout`](Self::timeout) says, or until there are [so many](Self::count), or [none has come](Self::quiet) for a while.
/// Retry policies and circuits do not concern it.
///
/// ```no_run
/// # use std::time::Duration;
/// # #[almanet::procedure(uri = "net.example.queue_length", broadcast)]
/// # async fn queue_length() -> u64 { 0 }
/// # async fn example(session: almanet::Session) -> Result<(), almanet::CallError<std::convert::Infallible>> {
/// let call = queue_length::call(&session).multicall().quiet(Duration::from_millis(200));
/// let mut answers = call.timeout(Duration::from_secs(2)).await?;
/// while let Some(answer) = answers.next().await {
///     match answer.outcome {
///         Ok(length) => println!("{:?}: {length}", answer.responder),
///         Err(error) => println!("{:?}: {error}", answer.responder),
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`CallError`] when the call could not be made. That nobody answers is no error, and what goes wrong in an instance is its
/// answer.
///
/// # Cancel safety
///
/// A multicall that is dropped is given up, as a [`Call`] is, in every instance that still runs it. So are those that
/// still run when enough have answered.
#[derive(Clone)]
#[must_use = "a call is made when it is awaited"]
pub struct Multicall<T, E = RemoteError> {
    call: Call<T, E>,
    quiet: Option<Duration>,
    count: Option<usize>,
}

impl<T, E> Multicall<T, E> {
    pub(super) fn new(call: Call<T, E>) -> Self {
        Self {
            call,
            quiet: None,
            count: None,
        }
    }

    /// How long to wait for answers. The instances learn it, and do not run once it has passed. Default: as long as the
    /// session's calls wait.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call = self.call.timeout(timeout);
        self
    }

    /// How long to wait for another answer after one has come, which ends the multicall earlier than its timeout. Default: no
    /// such limit, because what takes longer than the others would be missed.
    pub fn quiet(mut self, quiet: Duration) -> Self {
        self.quiet = Some(quiet);
        self
    }

    /// How many answers are enough, at least 1. Default: all that come in time.
    pub fn count(mut self, answers: usize) -> Self {
        self.count = Some(answers.max(1));
        self
    }

    /// Sends a header along: see [`Call::header`].
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.call = self.call.header(name, value);
        self
    }

    /// Says which errors the procedure returns: see [`Call::expecting`].
    pub fn expecting<F>(self) -> Multicall<T, F> {
        Multicall {
            call: self.call.expecting(),
            quiet: self.quiet,
            count: self.count,
        }
    }
}

impl<T, E> Multicall<T, E>
where
    T: DeserializeOwned + 'static,
    E: RpcError,
{
    /// Makes the call, and waits until no more answers are collected.
    ///
    /// # Errors
    ///
    /// [`CallError`] when the call could not be made, or the session was left meanwhile.
    ///
    /// # Cancel safety
    ///
    /// A multicall that is dropped is given up, and the answers that have come are lost.
    pub async fn collect(self) -> Result<Vec<Answer<T, E>>, CallError<E>> {
        let mut answers = self.into_future().await?;
        let mut collected = Vec::new();
        while let Some(answer) = answers.next().await {
            collected.push(answer);
        }
        match answers.end() {
            Some(MulticallEnd::SessionLeft) => Err(CallError::SessionLeft),
            Some(MulticallEnd::Cancelled) => Err(CallError::Cancelled {
                procedure: answers.procedure,
            }),
            _ => Ok(collected),
        }
    }

    async fn run(self) -> Result<Answers<T, E>, CallError<E>> {
        let Self { call, quiet, count } = self;
        let limits = Limits::of(&call, Instant::now())?;
        let scatter = Scatter::new(Until {
            deadline: limits.deadline,
            quiet,
            count,
            cancelled: limits.cancelled.clone(),
        });
        let caller = call.request.session.caller.clone();
        let call = call.header(RESPONDER, "wanted");
        let call = OutgoingCall::new(call, Way::Scatter(scatter.clone()), limits.started)?;
        let scattered = limits.bound(pass(caller, call)).await;
        let Limits {
            procedure, started, ..
        } = limits;
        match scattered {
            Ok(_) => Ok(Answers {
                gathered: scatter.take(),
                procedure,
                started,
                types: PhantomData,
            }),
            Err(error) => Err(error.typed(procedure)),
        }
    }
}

impl<T, E> IntoFuture for Multicall<T, E>
where
    T: DeserializeOwned + 'static,
    E: RpcError,
{
    type Output = Result<Answers<T, E>, CallError<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        let span = self.call.open_span();
        match span {
            None => Box::pin(self.run()),
            Some(span) => Box::pin(span.watch(self.run())),
        }
    }
}

impl<T, E> fmt::Debug for Multicall<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multicall")
            .field("call", &self.call)
            .field("quiet", &self.quiet)
            .field("count", &self.count)
            .finish()
    }
}

/// What makes a multicall, and where its answers are collected then. Cheap to clone, since layers may make a call again.
#[derive(Debug, Clone)]
pub(super) struct Scatter {
    until: Until,
    gathered: Arc<Mutex<Option<Gathered>>>,
}

impl Scatter {
    fn new(until: Until) -> Self {
        Self {
            until,
            gathered: Arc::default(),
        }
    }

    /// Publishes the call, without the layers of its session.
    pub(super) async fn publish(&self, call: Call<(), RemoteError>) -> Result<(), CallError> {
        let (procedure, request) = call.checked()?;
        if request.timeout.is_zero() {
            // The call that this one is made for has no time left: nobody needs to hear of it.
            return Err(Failed::TimedOut.into_error(procedure, Instant::now()));
        }
        let session = &request.session;
        let mut invocation = Invocation::new(session.id(), request.payload);
        invocation.timeout = Some(request.timeout);
        invocation.headers = request.headers;
        let topic = procedure.topic().clone();
        match session.scatter(topic, invocation, self.until.clone()).await {
            Ok(gathered) => {
                *self.gathered.lock().unwrap_or_else(PoisonError::into_inner) = Some(gathered);
                Ok(())
            }
            Err(why) => Err(Failed::from(why).into_error(procedure, Instant::now())),
        }
    }

    /// What is collected; nothing when a layer answered in the place of all.
    fn take(&self) -> Option<Gathered> {
        self.gathered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl From<NotScattered> for Failed {
    fn from(why: NotScattered) -> Self {
        match why {
            NotScattered::Encode(error) => Self::Encode(error),
            NotScattered::Subscribe(error) => Self::Subscribe(error),
            NotScattered::Publish(error) => Self::Publish(error),
            NotScattered::SessionLeft => Self::SessionLeft,
        }
    }
}

/// What one instance answers to a [`Multicall`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer<T, E: std::error::Error + 'static = RemoteError> {
    /// The start of a service that answers, as [`Instance::id`](crate::Instance::id) names it; `None` for a service that does
    /// not say, as those of the Python package.
    pub responder: Option<Id>,
    /// What the procedure returned there, or what went wrong.
    pub outcome: Result<T, CallError<E>>,
}

/// The answers to a [`Multicall`], as they come: a [`Stream`] that ends by [`count`](Multicall::count),
/// [`quiet`](Multicall::quiet) or [`timeout`](Multicall::timeout).
///
/// An answer that is delivered twice is given once, if its service says who it is. At most 1024 answers wait here to be taken;
/// what comes beyond that is lost, and logged. Dropped, the multicall is given up where it still runs.
pub struct Answers<T, E = RemoteError> {
    gathered: Option<Gathered>,
    procedure: Uri,
    started: Instant,
    types: PhantomData<fn() -> (T, E)>,
}

impl<T, E> Answers<T, E>
where
    T: DeserializeOwned,
    E: RpcError,
{
    /// The next answer; `None` when there will be no more.
    ///
    /// # Cancel safety
    ///
    /// Safe: no answer is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Answer<T, E>> {
        poll_fn(|cx| self.poll_answer(cx)).await
    }

    /// Why there will be no more answers; `None` while there may be.
    pub fn end(&self) -> Option<MulticallEnd> {
        match &self.gathered {
            Some(gathered) => gathered.ended(),
            None => Some(MulticallEnd::Cancelled),
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer<T, E>>> {
        let Some(gathered) = &mut self.gathered else {
            return Poll::Ready(None);
        };
        gathered
            .poll_next(cx)
            .map(|reply| reply.map(|reply| self.answer(reply)))
    }

    fn answer(&self, reply: Reply) -> Answer<T, E> {
        let procedure = self.procedure.clone();
        Answer {
            responder: reply.responder,
            outcome: match reply.outcome {
                Ok(payload) => payload
                    .decode()
                    .map_err(|source| CallError::Decode { procedure, source }),
                Err(error) => Err(raised(procedure, error, self.started)),
            },
        }
    }
}

impl<T, E> Stream for Answers<T, E>
where
    T: DeserializeOwned,
    E: RpcError,
{
    type Item = Answer<T, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer<T, E>>> {
        self.poll_answer(cx)
    }
}

impl<T, E> fmt::Debug for Answers<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers")
            .field("procedure", &self.procedure)
            .finish_non_exhaustive()
    }
}
