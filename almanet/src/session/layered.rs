//! Calls through the layers of a session.

use std::{
    future::pending,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::{
    BoxError, Layer, Service, ServiceExt, load_shed, service_fn, timeout, util::BoxCloneSyncService,
};

use super::{
    call::Call,
    multicall::Scatter,
    one_way::OneWay,
    shared::Session,
    stream::{Opening, Reading},
};
use crate::{
    error::{CallError, RemoteError, RpcError},
    uri::Uri,
    wire::{Headers, Payload},
};

/// What makes the calls of a session, as a [`tower::Service`].
pub type Caller = BoxCloneSyncService<OutgoingCall, Payload, CallError>;

/// A call as a [`Caller`] takes it: on its way out, through the [layers](crate::SessionBuilder::layer) of its session.
///
/// A layer gets the answer of the procedure as a payload. A [one-way call](crate::OneWayCall) and a
/// [multicall](crate::Multicall) are over for it when a broker has them, and what it gets is the payload of nothing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OutgoingCall {
    /// The procedure that is called.
    pub procedure: Uri,
    /// The argument, already written.
    pub payload: Payload,
    /// What travels beside it.
    pub headers: Headers,
    /// How long to wait for the answer. A layer that sets more than the caller said changes nothing: the call, with all
    /// its layers, ends when the caller has waited for as long as it said.
    pub timeout: Duration,
    /// What else the caller has said.
    settings: Call<(), RemoteError>,
    way: Way,
    deadline: Option<Instant>,
}

/// What is to come of a call.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// Its answer.
    Exchange,
    /// That a broker has it.
    Send(Box<OneWay>),
    /// That many will answer it.
    Scatter(Scatter),
    /// A stream, which is left there.
    Open(Opening),
}

impl OutgoingCall {
    pub(super) fn new<T, E>(call: Call<T, E>, way: Way, started: Instant) -> Result<Self, CallError<E>>
    where
        E: RpcError,
    {
        let mut settings = call.returning();
        let procedure = settings.uri.clone()?;
        if let Some(source) = settings.unwritten.take() {
            return Err(CallError::Encode { procedure, source });
        }
        let request = &mut settings.request;
        let deadline = request.deadline(started);
        Ok(Self {
            procedure,
            payload: request.payload.clone(),
            headers: std::mem::take(&mut request.headers),
            timeout: deadline.map_or(request.timeout, |deadline| {
                deadline.saturating_duration_since(started)
            }),
            settings,
            way,
            deadline,
        })
    }

    async fn send(self) -> Result<Payload, CallError> {
        let Self {
            procedure,
            payload,
            headers,
            timeout,
            mut settings,
            way,
            deadline,
        } = self;
        let codec = payload.codec();
        settings.uri = Ok(procedure.clone());
        settings.request.payload = payload;
        settings.request.headers = headers;
        settings.request.timeout = match deadline {
            // It bounds the silence of a stream, and not the time for all of it.
            _ if matches!(way, Way::Open(_)) => timeout,
            Some(deadline) => timeout.min(deadline.saturating_duration_since(Instant::now())),
            None => timeout,
        };
        match way {
            Way::Exchange => return settings.run(|payload| Ok(payload.clone()))?.await,
            Way::Send(way) => way.publish(settings).await?,
            Way::Scatter(scatter) => scatter.publish(settings).await?,
            Way::Open(opening) => Box::pin(opening.open(settings)).await?,
        }
        Payload::encode(codec, &()).map_err(|source| CallError::Encode { procedure, source })
    }
}

/// What is inside of all layers.
fn innermost() -> Caller {
    BoxCloneSyncService::new(service_fn(OutgoingCall::send))
}

/// `layer` around `caller`, or around what makes the calls of a session without layers.
pub(super) fn wrap<L>(caller: Option<&Caller>, layer: L) -> Arc<Caller>
where
    L: Layer<Caller>,
    L::Service: Service<OutgoingCall, Response = Payload, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let inner = caller.cloned().unwrap_or_else(innermost);
    Arc::new(BoxCloneSyncService::new(Layered::new(layer.layer(inner))))
}

impl Session {
    /// This session with one more [`tower::Layer`] around its calls, outside of those that it has. Only the calls of what
    /// is returned, and of its clones, pass through it; it is the same session in all else. See
    /// [`layer`](crate::layer).
    ///
    /// ```no_run
    /// use almanet::{
    ///     OutgoingCall, Session,
    ///     layer::{self, Next},
    /// };
    ///
    /// /// The session for the requests of one tenant.
    /// fn for_tenant(session: &Session, tenant: String) -> Session {
    ///     session.layer(layer::from_fn(move |mut call: OutgoingCall, next: Next<_>| {
    ///         call.headers.insert("tenant", &tenant);
    ///         next.run(call)
    ///     }))
    /// }
    /// ```
    pub fn layer<L>(&self, layer: L) -> Self
    where
        L: Layer<Caller>,
        L::Service: Service<OutgoingCall, Response = Payload, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let mut session = self.clone();
        session.caller = Some(wrap(self.caller.as_deref(), layer));
        session
    }
}

impl<T, E> Call<T, E>
where
    T: DeserializeOwned,
    E: RpcError,
{
    /// Makes the call through the layers of its session.
    pub(super) async fn run_layered(self) -> Result<T, CallError<E>> {
        let limits = Limits::of(&self, Instant::now())?;
        let caller = self.request.session.caller.clone();
        let call = OutgoingCall::new(self, Way::Exchange, limits.started)?;
        let answer = limits.bound(pass(caller, call)).await;
        let procedure = limits.procedure;
        match answer {
            Ok(payload) => payload
                .decode()
                .map_err(|source| CallError::Decode { procedure, source }),
            Err(error) => Err(error.typed(procedure)),
        }
    }

    /// Opens a stream through the layers of its session.
    pub(super) async fn stream_layered(self, credit: u32) -> Result<Reading, CallError<E>> {
        let limits = Limits::of(&self, Instant::now())?;
        let caller = self.request.session.caller.clone();
        let opening = Opening::new(credit);
        let call = OutgoingCall::new(self, Way::Open(opening.clone()), limits.started)?;
        let opened = limits.bound(pass(caller, call)).await;
        let procedure = limits.procedure;
        if let Err(error) = opened {
            return Err(error.typed(procedure));
        }
        // A layer may have answered by itself.
        opening.opened().ok_or(CallError::NotAStream { procedure })
    }
}

/// Passes `call` through the layers that are in `caller`, if there are any, to the broker.
pub(super) async fn pass(caller: Option<Arc<Caller>>, call: OutgoingCall) -> Result<Payload, CallError> {
    match caller {
        Some(caller) => Caller::clone(&caller).oneshot(call).await,
        None => call.send().await,
    }
}

/// What ends a call, whatever it waits for.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) procedure: Uri,
    pub(super) started: Instant,
    pub(super) deadline: Option<Instant>,
    pub(super) cancelled: Option<CancellationToken>,
}

impl Limits {
    pub(super) fn of<T, E: RpcError>(call: &Call<T, E>, started: Instant) -> Result<Self, CallError<E>> {
        let inherited = call.request.session.inherited.as_ref();
        Ok(Self {
            procedure: call.uri.clone()?,
            started,
            deadline: call.request.deadline(started),
            cancelled: inherited.map(|inherited| inherited.cancelled().clone()),
        })
    }

    /// Waits for `call` within the limits.
    pub(super) async fn bound<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let expired = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        let cancelled = async {
            match &self.cancelled {
                Some(cancelled) => cancelled.cancelled().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = cancelled => Err(CallError::Cancelled { procedure: self.procedure.clone() }),
            answer = call => answer,
            () = expired => Err(CallError::Timeout {
                procedure: self.procedure.clone(),
                waited: self.started.elapsed(),
            }),
        }
    }
}

/// Makes what a layer fails with an error of a call.
#[derive(Debug, Clone)]
struct Layered<S> {
    inner: S,
    /// Why the layer will never be ready, to be told with the next call.
    failed: Option<String>,
}

impl<S> Layered<S> {
    fn new(inner: S) -> Self {
        Self { inner, failed: None }
    }
}

impl<S> Service<OutgoingCall> for Layered<S>
where
    S: Service<OutgoingCall, Response = Payload, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = Payload;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Payload, CallError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.inner.poll_ready(cx).map(|ready| {
            self.failed = ready.err().map(|error| error.into().to_string());
            Ok(())
        })
    }

    fn call(&mut self, call: OutgoingCall) -> Self::Future {
        let (procedure, started) = (call.procedure.clone(), Instant::now());
        if let Some(reason) = self.failed.take() {
            return Box::pin(async move { Err(failed(reason.into(), procedure, started)) });
        }
        let answer = self.inner.call(call);
        Box::pin(async move {
            answer
                .await
                .map_err(|error| failed(error.into(), procedure, started))
        })
    }
}

fn failed(error: BoxError, procedure: Uri, started: Instant) -> CallError {
    match error.downcast::<CallError>() {
        Ok(error) => *error,
        Err(error) if error.is::<timeout::error::Elapsed>() => CallError::Timeout {
            procedure,
            waited: started.elapsed(),
        },
        Err(error) if error.is::<load_shed::error::Overloaded>() => CallError::Overloaded {
            procedure,
            reason: "this session makes all the calls that it may make at once".to_owned(),
        },
        Err(source) => CallError::Layer { procedure, source },
    }
}
