//! One call, from its settings to its answer.

use std::{fmt, future::IntoFuture, marker::PhantomData, pin::Pin, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{
    again::{Again, Chosen},
    attempt::{Failed, Request},
    inherit::Inherited,
    multicall::Multicall,
    one_way::OneWayCall,
    retry::Retry,
    shared::Session,
};
use crate::{
    error::{
        CallError, INTERNAL_ERROR, INTERRUPTED, INVALID_PAYLOAD, INVALID_RETURN, OVERLOADED, RemoteError,
        RpcError, STREAM_ONLY, TIMEOUT,
    },
    telemetry::CallSpan,
    uri::{InvalidUri, Uri},
    wire::{DecodeError, EncodeError, Headers, IDEMPOTENCY_KEY, Payload, Reply},
};

/// A call that is about to be made: await it, after settings if there are any.
///
/// `T` is the type of the answer and `E` the error type of the procedure.
#[derive(Clone)]
#[must_use = "a call is made when it is awaited"]
pub struct Call<T, E = RemoteError> {
    pub(super) uri: Result<Uri, InvalidUri>,
    pub(super) request: Request,
    /// Why the payload could not be written; the request has none then.
    pub(super) unwritten: Option<EncodeError>,
    retry: Option<Retry>,
    /// Which errors are worth another attempt, where the caller has said so.
    chosen: Option<Chosen>,
    pub(super) idempotent: bool,
    /// After how long without an answer the broker is asked whether anybody serves the procedure.
    patience: Option<Duration>,
    returns: PhantomData<fn() -> Result<T, E>>,
}

impl<T, E> Call<T, E> {
    /// A call of the procedure `uri` with `payload`.
    ///
    /// The payload is written at once, in the session's codec, so nothing is borrowed. A URI or a payload that is not
    /// valid shows when the call is awaited.
    pub fn new(session: &Session, uri: impl AsRef<str>, payload: &(impl Serialize + ?Sized)) -> Self {
        let mut session = session.clone();
        session.inherited = session.inherited.or_else(Inherited::current);
        let (payload, unwritten) = match Payload::encode(session.codec(), payload) {
            Ok(payload) => (payload, None),
            Err(error) => (Payload::from_bytes(session.codec(), Bytes::new()), Some(error)),
        };
        Self {
            uri: Uri::new(uri),
            request: Request {
                timeout: session.shared.call_timeout,
                session,
                headers: Headers::new(),
                payload,
            },
            unwritten,
            retry: None,
            chosen: None,
            idempotent: false,
            patience: None,
            returns: PhantomData,
        }
    }

    /// How long to wait for the answer, over all attempts. The procedure learns it, and does not run once it has passed.
    ///
    /// A call that is made while a call is served waits no longer than that one's caller does.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout = timeout;
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
            uri,
            request,
            unwritten,
            retry,
            chosen,
            idempotent,
            patience,
            returns: _,
        } = self;
        Call {
            uri,
            request,
            unwritten,
            retry,
            chosen,
            idempotent,
            patience,
            returns: PhantomData,
        }
    }

    /// The span of the call, which its headers carry on. `None` where nobody looks, and where the URI is not valid.
    pub(super) fn open_span(&mut self) -> Option<CallSpan> {
        let uri = self.uri.as_ref().ok()?;
        CallSpan::open(uri, &mut self.request.headers)
    }

    /// Ends the call with [`CallError::NoResponders`] when it has waited for `patience` and the broker says that nobody
    /// serves the procedure; it is asked again each time that `patience` has passed.
    ///
    /// Default: the call waits for a service that starts, for as long as its timeout allows. The broker can be asked where
    /// the session knows an nsqlookupd ([`SessionBuilder::lookupd`](crate::SessionBuilder::lookupd)) or nodes' HTTP
    /// addresses ([`NsqTransportConfig::http_addresses`](crate::transport::NsqTransportConfig::http_addresses)), and
    /// in process; elsewhere this changes nothing. A call that is answered sooner asks nobody.
    pub fn responders_within(mut self, patience: Duration) -> Self {
        // Asking has its price for the broker.
        self.patience = Some(patience.max(Duration::from_millis(10)));
        self
    }

    /// Sends a header along, which the procedure finds in [`Context::headers`](crate::Context::headers).
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.headers.insert(name, value);
        self
    }

    /// Says that running the procedure twice does no more than running it once, so that a call that may have run can be
    /// sent again. It is, as [`Retry::default`] says, unless [`retry`](Self::retry) says something else.
    ///
    /// The callers that `#[procedure(idempotent)]` generates have said so.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self.retry.get_or_insert_default();
        self
    }

    /// When to send the call again if it fails. Default: never, or as [`idempotent`](Self::idempotent) says.
    pub fn retry(mut self, policy: Retry) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Which errors are worth another attempt, instead of those that are [by default](Retry): the call is sent again when
    /// `is_worth_it` says so, as often as its [policy](Self::retry) and the session's budget allow, three times by default.
    ///
    /// It is asked about errors that the procedure returned too, which are final otherwise. It is not asked, and the call
    /// is not sent again, where the error says that a run may have come to harm and the call is not
    /// [idempotent](Self::idempotent), and where another attempt cannot help.
    ///
    /// ```no_run
    /// # async fn example(session: almanet::Session) -> Result<(), almanet::CallError> {
    /// use almanet::CallError;
    ///
    /// let busy = |error: &CallError| matches!(error, CallError::Remote(error) if error.name() == "busy");
    /// let price: u64 = session.call("net.example.price", &"tea").retry_if(busy).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry_if(mut self, is_worth_it: impl Fn(&CallError<E>) -> bool + Send + Sync + 'static) -> Self
    where
        E: RpcError,
    {
        self.retry.get_or_insert_default();
        self.chosen = Some(Chosen::by(is_worth_it));
        self
    }

    /// Names the work that is to be done once, whoever asks for it and how often: an instance that has done it for this
    /// key answers with its first answer instead of running the procedure again, for a while
    /// ([`Procedure::remember`](crate::Procedure::remember)).
    ///
    /// At most 256 bytes. The memory is the instance's own, so where there are several of them, or where they restart,
    /// a procedure that must not run twice needs a place of its own to note what it has done: it finds the key in
    /// [`Context::idempotency_key`](crate::Context::idempotency_key).
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        self.header(IDEMPOTENCY_KEY, key)
    }

    /// Makes the call outlive the one that it is made for: it inherits neither deadline nor cancellation.
    pub fn detached(mut self) -> Self {
        self.request.session.inherited = None;
        self
    }

    /// Makes the call without waiting for an answer: see [`OneWayCall`]. How long the call may take says
    /// [`OneWayCall::expires`], and not what was said here.
    ///
    /// ```no_run
    /// # #[almanet::procedure(uri = "net.example.remind")]
    /// # async fn remind(name: String) {}
    /// # async fn example(session: almanet::Session) -> Result<(), almanet::CallError> {
    /// remind::call(&session, "Aidar".into()).send().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn send(self) -> OneWayCall {
        OneWayCall::new(self.returning())
    }

    /// Makes the call in all instances of the procedure, and collects their answers: see [`Multicall`].
    pub fn multicall(self) -> Multicall<T, E> {
        Multicall::new(self)
    }
}

impl<T, E: RpcError> Call<T, E> {
    /// What is sent, once it is certain that it can be, and what there is to say of it that most calls do not have.
    fn prepare(self) -> Result<(Uri, Request, Settings), CallError<E>> {
        let (idempotent, chosen) = (self.idempotent, self.chosen.clone());
        let again = self.retry.map(|policy| Again {
            policy,
            idempotent,
            chosen,
        });
        let patience = self.patience;
        let (procedure, request) = self.checked()?;
        Ok((procedure, request, Settings { again, patience }))
    }

    /// What is sent, once it is certain that it can be.
    pub(super) fn checked(self) -> Result<(Uri, Request), CallError<E>> {
        let procedure = self.uri?;
        if let Some(source) = self.unwritten {
            return Err(CallError::Encode { procedure, source });
        }
        match self.request.check_size() {
            Ok(()) => Ok((procedure, self.request)),
            Err(failed) => Err(failed.into_error(procedure, Instant::now())),
        }
    }

    /// Makes the call, without the layers of the session, and reads its answer by `read`; an error when it cannot be made.
    pub(super) fn run<U>(
        self,
        read: fn(&Payload) -> Result<U, DecodeError>,
    ) -> Result<impl Future<Output = Result<U, CallError<E>>> + Send, CallError<E>> {
        let (procedure, request, settings) = self.prepare()?;
        let settings = settings.are_any().then(|| Box::new(settings));
        let is_plain = request.session.inherited.is_none() && settings.is_none();
        // There is a future of this for each call under way, so what only few calls need is boxed, and what is sent too.
        let request = Box::new(request);
        Ok(async move {
            let started = Instant::now();
            let admitted = match request.session.shared.admit(&procedure) {
                Ok(admitted) => admitted,
                Err(retry_after) => {
                    return Err(CallError::CircuitOpen {
                        procedure,
                        retry_after,
                    });
                }
            };
            let reply = if is_plain && !request.timeout.is_zero() {
                let deadline = started.checked_add(request.timeout);
                request.exchange_until(&procedure, deadline).await
            } else {
                Box::pin(exchange(request, &procedure, settings.as_deref(), started)).await
            };
            let outcome = outcome(reply, procedure, started, read);
            if let Some(admitted) = admitted {
                admitted.ended(outcome.as_ref().is_err_and(is_failure));
            }
            outcome
        })
    }
}

/// What few calls have.
struct Settings {
    again: Option<Again>,
    patience: Option<Duration>,
}

impl Settings {
    fn are_any(&self) -> bool {
        self.again.is_some() || self.patience.is_some()
    }
}

/// Exchanges a request for its reply, within the limits of the call that it is made for.
async fn exchange(
    mut request: Box<Request>,
    procedure: &Uri,
    settings: Option<&Settings>,
    started: Instant,
) -> Result<Reply, Failed> {
    let deadline = request.deadline(started);
    let inherited = request.session.inherited.take();
    if let Some(deadline) = deadline {
        request.timeout = deadline.saturating_duration_since(started);
    }
    if request.timeout.is_zero() {
        // The call that this one is made for has no time left: nobody needs to hear of it.
        return Err(Failed::TimedOut);
    }
    let patience = settings.and_then(|settings| settings.patience);
    let unserved = patience.map(|patience| request.unserved(procedure, patience));
    let exchange = async {
        match settings.and_then(|settings| settings.again.as_ref()) {
            Some(again) => {
                let sent = request.exchange_again(procedure, deadline, again);
                Box::pin(sent).await
            }
            None => request.exchange_until(procedure, deadline).await,
        }
    };
    let exchange = async {
        let Some(unserved) = unserved else {
            return exchange.await;
        };
        tokio::select! {
            biased;
            reply = exchange => reply,
            () = unserved => Err(Failed::NoResponders),
        }
    };
    match inherited {
        Some(inherited) => tokio::select! {
            biased;
            () = inherited.cancelled().cancelled() => Err(Failed::Cancelled),
            reply = exchange => reply,
        },
        None => exchange.await,
    }
}

/// What became of a call.
fn outcome<T, E: RpcError>(
    reply: Result<Reply, Failed>,
    procedure: Uri,
    started: Instant,
    read: fn(&Payload) -> Result<T, DecodeError>,
) -> Result<T, CallError<E>> {
    match reply {
        Ok(reply) => match reply.outcome {
            Ok(payload) => read(&payload).map_err(|source| CallError::Decode { procedure, source }),
            Err(error) => Err(raised(procedure, error, started)),
        },
        Err(failed) => Err(failed.into_error(procedure, started)),
    }
}

/// Whether the error tells that the procedure is not well, which is what its circuit counts.
pub(super) fn is_failure<E: RpcError>(error: &CallError<E>) -> bool {
    matches!(
        error,
        CallError::Timeout { .. }
            | CallError::NoResponders { .. }
            | CallError::Disconnected { .. }
            | CallError::Overloaded { .. }
            | CallError::Internal { .. }
            | CallError::Publish { .. }
    )
}

/// The error of a call whose procedure answered with one.
pub(super) fn raised<E: RpcError>(procedure: Uri, error: RemoteError, started: Instant) -> CallError<E> {
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
        STREAM_ONLY => CallError::StreamOnly { procedure },
        INTERRUPTED => CallError::Interrupted {
            procedure,
            reason: sentence(&error),
        },
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
        let span = self.open_span();
        if self.request.session.caller.is_some() {
            let call = self.run_layered();
            return match span {
                None => Box::pin(call),
                Some(span) => Box::pin(span.watch(call)),
            };
        }
        match (self.run(Payload::decode), span) {
            (Ok(call), None) => Box::pin(call),
            (Ok(call), Some(span)) => Box::pin(span.watch(call)),
            (Err(error), None) => Box::pin(async move { Err(error) }),
            (Err(error), Some(span)) => Box::pin(span.watch(async move { Err(error) })),
        }
    }
}

impl<T, E> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("uri", &self.uri)
            .field("timeout", &self.request.timeout)
            .field("headers", &self.request.headers)
            .field("retry", &self.retry)
            .field("idempotent", &self.idempotent)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
