//! One call, from its settings to its answer.

use std::{fmt, future::IntoFuture, marker::PhantomData, pin::Pin, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};

use super::{replies::Replies, shared::Session};
use crate::{
    error::{
        CallError, INTERNAL_ERROR, INVALID_PAYLOAD, INVALID_RETURN, OVERLOADED, RemoteError, RpcError,
        TIMEOUT,
    },
    id::Id,
    telemetry::CallSpan,
    transport::{Publication, PublishError, SubscribeError},
    uri::{InvalidUri, Uri},
    wire::{DecodeError, EncodeError, Headers, Invocation, Payload, Reply},
};

/// A call that is about to be made: await it, after settings if there are any.
///
/// `T` is the type of the answer and `E` the error type of the procedure.
#[derive(Clone)]
#[must_use = "a call is made when it is awaited"]
pub struct Call<T, E = RemoteError> {
    pub(super) session: Session,
    pub(super) uri: Result<Uri, InvalidUri>,
    pub(super) payload: Result<Payload, EncodeError>,
    pub(super) timeout: Duration,
    pub(super) headers: Headers,
    returns: PhantomData<fn() -> Result<T, E>>,
}

impl<T, E> Call<T, E> {
    /// A call of the procedure `uri` with `payload`.
    ///
    /// The payload is written at once, in the session's codec, so nothing is borrowed. A URI or a payload that is not
    /// valid shows when the call is awaited.
    pub fn new(session: &Session, uri: impl AsRef<str>, payload: &(impl Serialize + ?Sized)) -> Self {
        Self {
            session: session.clone(),
            uri: Uri::new(uri),
            payload: Payload::encode(session.codec(), payload),
            timeout: session.shared.call_timeout,
            headers: Headers::new(),
            returns: PhantomData,
        }
    }

    /// How long to wait for the answer. The procedure learns it, and does not run once it has passed.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Says which errors the procedure returns, so that they come as [`CallError::Remote`] of that type. Others come as
    /// [`CallError::Unexpected`].
    pub fn expecting<F>(self) -> Call<T, F> {
        self.returning()
    }

    /// The same call with other types.
    pub(super) fn returning<U, F>(self) -> Call<U, F> {
        let Self {
            session,
            uri,
            payload,
            timeout,
            headers,
            returns: _,
        } = self;
        Call {
            session,
            uri,
            payload,
            timeout,
            headers,
            returns: PhantomData,
        }
    }

    /// Sends a header along, which the procedure finds in [`Context::headers`](crate::Context::headers).
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl<T, E: RpcError> Call<T, E> {
    /// Makes the call, without the layers of the session, and reads its answer by `read`.
    pub(super) async fn run<U>(
        self,
        read: impl FnOnce(&Payload) -> Result<U, DecodeError>,
    ) -> Result<U, CallError<E>> {
        let started = Instant::now();
        let (procedure, request) = self.into_request()?;
        let deadline = started.checked_add(request.timeout);
        let reply = {
            let answer = request.exchange(&procedure);
            match deadline {
                Some(deadline) => timeout_at(deadline, answer).await,
                None => Ok(answer.await),
            }
        };
        match reply {
            Ok(Ok(reply)) => match reply.outcome {
                Ok(payload) => read(&payload).map_err(|source| CallError::Decode { procedure, source }),
                Err(error) => Err(raised(procedure, error, started)),
            },
            Ok(Err(failed)) => Err(failed.into_error(procedure)),
            Err(_) => Err(CallError::Timeout {
                procedure,
                waited: started.elapsed(),
            }),
        }
    }

    /// What is sent, once it is certain that it can be.
    fn into_request(self) -> Result<(Uri, Request), CallError<E>> {
        let procedure = self.uri?;
        match self.payload {
            Ok(payload) => {
                let request = Request {
                    session: self.session,
                    timeout: self.timeout,
                    headers: self.headers,
                    payload,
                };
                Ok((procedure, request))
            }
            Err(source) => Err(CallError::Encode { procedure, source }),
        }
    }
}

/// A call without its types. Few things live while it waits: there is a future of it for each call under way.
struct Request {
    session: Session,
    timeout: Duration,
    headers: Headers,
    payload: Payload,
}

/// Why there is no reply.
enum Failed {
    Encode(EncodeError),
    Subscribe(SubscribeError),
    Publish(PublishError),
    SessionLeft,
}

impl Failed {
    fn into_error<E: RpcError>(self, procedure: Uri) -> CallError<E> {
        match self {
            Self::Encode(source) => CallError::Encode { procedure, source },
            Self::Subscribe(source) => CallError::Subscribe { procedure, source },
            Self::Publish(source) => CallError::Publish { procedure, source },
            Self::SessionLeft => CallError::SessionLeft,
        }
    }
}

impl Request {
    /// Sends the invocation and waits for its reply, for as long as it takes.
    async fn exchange(self, procedure: &Uri) -> Result<Reply, Failed> {
        let session = self.session.clone();
        let shared = &*session.shared;
        let id = Id::random();
        let mut pending = shared.pending.enter(id).ok_or(Failed::SessionLeft)?;
        if !shared.replies.initialized() {
            // Only the first call of a session comes by here, so its future is not a part of every call's.
            let listening = shared.replies.get_or_try_init(|| Replies::listen(shared));
            Box::pin(listening).await.map_err(Failed::Subscribe)?;
        }
        let body = self.into_body(id, shared.replies.get())?;
        let publication = Publication::new(procedure.topic().clone(), body);
        let published = shared.transport.publish(publication);
        published.await.map_err(Failed::Publish)?;
        pending.reply().await.ok_or(Failed::SessionLeft)
    }

    fn into_body(self, id: Id, replies: Option<&Replies>) -> Result<Bytes, Failed> {
        let mut invocation = Invocation::new(self.session.id(), self.payload);
        invocation.id = id;
        invocation.timeout = Some(self.timeout);
        invocation.headers = self.headers;
        invocation.reply_topic = replies.map(|replies| replies.topic.clone());
        invocation.encode().map_err(Failed::Encode)
    }
}

/// The error of a call whose procedure answered with one.
fn raised<E: RpcError>(procedure: Uri, error: RemoteError, started: Instant) -> CallError<E> {
    match error.name() {
        INVALID_PAYLOAD => CallError::InvalidPayload {
            procedure,
            reason: sentence(&error),
        },
        INVALID_RETURN => CallError::InvalidReturn {
            procedure,
            reason: sentence(&error),
        },
        INTERNAL_ERROR => CallError::Internal { procedure },
        OVERLOADED => CallError::Overloaded {
            procedure,
            reason: sentence(&error),
        },
        TIMEOUT => CallError::Timeout {
            procedure,
            waited: started.elapsed(),
        },
        _ => match E::from_remote(error) {
            Ok(error) => CallError::Remote(error),
            Err(error) => CallError::Unexpected { procedure, error },
        },
    }
}

/// The sentence that a built-in error has as its payload.
fn sentence(error: &RemoteError) -> String {
    match error.payload().decode::<serde_json::Value>() {
        Ok(serde_json::Value::String(sentence)) => sentence,
        Ok(other) => other.to_string(),
        Err(_) => "the reason could not be read".to_owned(),
    }
}

impl<T, E> IntoFuture for Call<T, E>
where
    T: DeserializeOwned + 'static,
    E: RpcError,
{
    type Output = Result<T, CallError<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        let span = match &self.uri {
            Ok(uri) => CallSpan::open(uri, &mut self.headers),
            Err(_) => None,
        };
        match (span, self.session.shared.caller.is_some()) {
            (None, false) => Box::pin(self.run(Payload::decode)),
            (None, true) => Box::pin(self.run_layered()),
            (Some(span), false) => Box::pin(span.watch(self.run(Payload::decode))),
            (Some(span), true) => Box::pin(span.watch(self.run_layered())),
        }
    }
}

impl<T, E> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("uri", &self.uri)
            .field("timeout", &self.timeout)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}
