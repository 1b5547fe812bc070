//! One call, from its settings to its answer.

use std::{fmt, future::IntoFuture, marker::PhantomData, pin::Pin, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{replies::Replies, shared::Session};
use crate::{
    error::{CallError, INTERNAL_ERROR, INVALID_PAYLOAD, INVALID_RETURN, RemoteError, RpcError, TIMEOUT},
    transport::Publication,
    uri::{InvalidUri, Uri},
    wire::{EncodeError, Headers, Invocation, Payload, Reply},
};

/// A call that is about to be made: await it, after settings if there are any.
///
/// `T` is the type of the answer and `E` the error type of the procedure.
#[must_use = "a call is made when it is awaited"]
pub struct Call<T, E = RemoteError> {
    session: Session,
    uri: Result<Uri, InvalidUri>,
    payload: Result<Payload, EncodeError>,
    timeout: Duration,
    headers: Headers,
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

impl<T, E> Call<T, E>
where
    T: DeserializeOwned,
    E: RpcError,
{
    async fn run(self) -> Result<T, CallError<E>> {
        let procedure = self.uri?;
        let payload = self.payload.map_err(|source| CallError::Encode {
            procedure: procedure.clone(),
            source,
        })?;
        let mut invocation = Invocation::new(self.session.id(), payload);
        invocation.timeout = Some(self.timeout);
        invocation.headers = self.headers;

        let started = Instant::now();
        let answer = exchange(&self.session, &procedure, invocation);
        let reply = match started.checked_add(self.timeout) {
            Some(deadline) => {
                tokio::time::timeout_at(deadline, answer)
                    .await
                    .map_err(|_| CallError::Timeout {
                        procedure: procedure.clone(),
                        waited: started.elapsed(),
                    })??
            }
            None => answer.await?,
        };
        match reply.outcome {
            Ok(payload) => payload
                .decode()
                .map_err(|source| CallError::Decode { procedure, source }),
            Err(error) => Err(raised(procedure, error, started)),
        }
    }
}

/// Sends the invocation and waits for its reply, for as long as it takes.
async fn exchange<E: RpcError>(
    session: &Session,
    procedure: &Uri,
    mut invocation: Invocation,
) -> Result<Reply, CallError<E>> {
    let shared = &session.shared;
    let publish_failed = |source| CallError::Publish {
        procedure: procedure.clone(),
        source,
    };

    let mut pending = shared
        .pending
        .enter(invocation.id)
        .ok_or(CallError::SessionLeft)?;
    let replies = shared
        .replies
        .get_or_try_init(|| Replies::listen(shared))
        .await
        .map_err(|source| CallError::Subscribe {
            procedure: procedure.clone(),
            source,
        })?;
    invocation.reply_topic = Some(replies.topic.clone());

    let body = invocation.encode().map_err(|source| CallError::Encode {
        procedure: procedure.clone(),
        source,
    })?;
    shared
        .transport
        .publish(Publication::new(procedure.topic().clone(), body))
        .await
        .map_err(publish_failed)?;
    pending.reply().await.ok_or(CallError::SessionLeft)
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

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
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
