//! A call that asks for a stream, from its settings to when it has been made.

use std::{
    fmt,
    future::IntoFuture,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

use super::response::{Reading, ResponseStream};
use crate::{
    error::{CallError, RemoteError, RpcError},
    id::Id,
    session::{attempt::Failed, call::Call},
    transport::Publication,
    wire::STREAM_CREDIT,
};

/// How many items the service may send ahead, unless the caller says otherwise: the next ones are on their way when half
/// of them have been taken, so a reader that keeps up does not wait, and a slow one keeps little in memory.
const DEFAULT_CREDIT: u32 = 64;

/// The most that can be kept for a reader.
const MOST_CREDIT: u32 = 65_536;

/// A call to a procedure that returns a stream: await it, after settings if there are any, and then read the
/// [`ResponseStream`] that it is answered with.
///
/// `T` is the type of an item and `E` the error type of the procedure. See [`Call::stream`] for an example.
#[must_use = "a call is made when it is awaited"]
pub struct StreamCall<T, E = RemoteError> {
    call: Call<T, E>,
    credit: u32,
}

impl<T, E> Call<T, E> {
    /// Asks for a stream of `T`, from a procedure that returns one. Callers that `#[procedure]` generates do so
    /// themselves.
    ///
    /// ```no_run
    /// # async fn example(session: almanet::Session) -> Result<(), almanet::CallError> {
    /// let mut lines = session.call::<String>("net.example.log", &"today").stream().await?;
    /// while let Some(line) = lines.next().await {
    ///     println!("{}", line?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A stream is not sent again by a [retry policy](Self::retry), nor remembered by an
    /// [idempotency key](Self::idempotency_key): some of it may have been taken. What was said of those is passed over.
    pub fn stream(self) -> StreamCall<T, E> {
        StreamCall {
            call: self,
            credit: DEFAULT_CREDIT,
        }
    }
}

impl<T, E> StreamCall<T, E> {
    /// How long the service may be silent, before the first item or later. A service that has nothing to send says at
    /// least every third of this time, and every 5 seconds, that it is there; so this is about services that are gone, and not about
    /// streams that are quiet.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call = self.call.timeout(timeout);
        self
    }

    /// How many items the service may send before they are taken, 1 to 65,536. Default: 64.
    ///
    /// That many may be in memory here, so where items are large, fewer are better; where they are small and the way is
    /// long, more.
    pub fn credit(mut self, items: u32) -> Self {
        self.credit = items.clamp(1, MOST_CREDIT);
        self
    }

    /// Says which errors the procedure returns: see [`Call::expecting`].
    pub fn expecting<F>(self) -> StreamCall<T, F> {
        StreamCall {
            call: self.call.expecting(),
            credit: self.credit,
        }
    }

    /// Sends a header along: see [`Call::header`].
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.call = self.call.header(name, value);
        self
    }

    /// Makes the stream outlive the call that it is read for: see [`Call::detached`].
    pub fn detached(mut self) -> Self {
        self.call = self.call.detached();
        self
    }
}

/// Makes the call; ready once a broker has taken it.
///
/// # Errors
///
/// [`CallError`] when it cannot be made. What the procedure says comes with the items.
impl<T, E> IntoFuture for StreamCall<T, E>
where
    T: DeserializeOwned + 'static,
    E: RpcError,
{
    type Output = Result<ResponseStream<T, E>, CallError<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        let span = self.call.open_span();
        Box::pin(async move {
            let layered = self.call.request.session.caller.is_some();
            let reading = match layered {
                true => self.call.stream_layered(self.credit).await,
                false => self.call.open(self.credit).await,
            };
            match reading {
                Ok(reading) => Ok(ResponseStream::new(reading, span)),
                Err(error) => {
                    if let Some(span) = span {
                        span.ended(error.outcome());
                    }
                    Err(error)
                }
            }
        })
    }
}

impl<T, E> fmt::Debug for StreamCall<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamCall")
            .field("call", &self.call)
            .field("credit", &self.credit)
            .finish()
    }
}

/// Where a call through layers, which know payloads only, leaves the stream that it has opened.
#[derive(Debug, Clone)]
pub(in crate::session) struct Opening {
    credit: u32,
    opened: Arc<Mutex<Option<Reading>>>,
}

impl Opening {
    pub(in crate::session) fn new(credit: u32) -> Self {
        Self {
            credit,
            opened: Arc::default(),
        }
    }

    /// Opens the stream of `call`. One that a layer had opened before is given up.
    pub(in crate::session) async fn open(self, call: Call<(), RemoteError>) -> Result<(), CallError> {
        let reading = call.open(self.credit).await?;
        let before = self.place().replace(reading);
        drop(before);
        Ok(())
    }

    /// The stream, if it has been opened.
    pub(in crate::session) fn opened(&self) -> Option<Reading> {
        self.place().take()
    }

    fn place(&self) -> MutexGuard<'_, Option<Reading>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, E: RpcError> Call<T, E> {
    /// Makes the call, without the layers of the session.
    pub(in crate::session) async fn open(self, credit: u32) -> Result<Reading, CallError<E>> {
        let (procedure, mut request) = self.checked()?;
        let started = Instant::now();
        let admitted =
            request
                .session
                .shared
                .admit(&procedure)
                .map_err(|retry_after| CallError::CircuitOpen {
                    procedure: procedure.clone(),
                    retry_after,
                })?;
        let inherited = request.session.inherited.take();
        let shared = Arc::clone(&request.session.shared);
        let silence = request.timeout;
        let until = [
            started.checked_add(silence),
            inherited.as_ref().and_then(|inherited| inherited.deadline),
        ];
        let until = until.into_iter().flatten().min();
        if let Some(until) = until {
            request.timeout = until.saturating_duration_since(started);
        }
        let id = Id::random();
        let open = async {
            let read = shared.streams.enter(id, credit).ok_or(Failed::SessionLeft)?;
            let inbox = shared.inbox().await.map_err(Failed::Subscribe)?;
            request.headers.insert(STREAM_CREDIT, credit.to_string());
            let body = request.take_body(id)?;
            let publication = Publication::new(procedure.topic().clone(), body);
            let node = shared.transport.publish_and_locate(publication).await;
            read.stream.taken_by(node.map_err(Failed::Publish)?);
            Ok((read, inbox.outbox.clone()))
        };
        let expired = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let cancelled = async {
            match &inherited {
                Some(inherited) => inherited.cancelled().cancelled().await,
                None => std::future::pending().await,
            }
        };
        let opened = tokio::select! {
            biased;
            () = cancelled => Err(Failed::Cancelled),
            () = expired => Err(Failed::TimedOut),
            opened = open => opened,
        };
        match opened {
            Ok((read, outbox)) => Ok(Reading::new(
                procedure, shared, read, outbox, silence, inherited, admitted,
            )),
            Err(failed) => {
                if let Some(admitted) = admitted {
                    let failure = matches!(failed, Failed::TimedOut | Failed::Publish(_));
                    admitted.ended(failure);
                }
                Err(failed.into_error(procedure, started))
            }
        }
    }
}
