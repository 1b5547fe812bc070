//! Calls through the layers of a session.

use std::{
    future::pending,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};
use tower::{BoxError, Service, ServiceExt, load_shed, service_fn, timeout, util::BoxCloneSyncService};

use super::{
    call::Call,
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
    /// Where the stream is left that the call asks for.
    opening: Option<Opening>,
    deadline: Option<Instant>,
}

impl OutgoingCall {
    fn new<T, E>(call: Call<T, E>, started: Instant) -> Result<Self, CallError<E>>
    where
        E: RpcError,
    {
        let mut settings = call.returning();
        let procedure = settings.uri.clone()?;
        if let Some(source) = settings.unwritten.take() {
            return Err(CallError::Encode { procedure, source });
        }
        let request = &mut settings.request;
        let own = started.checked_add(request.timeout);
        let of_the_caller = request.session.inherited.as_ref();
        let of_the_caller = of_the_caller.and_then(|inherited| inherited.deadline);
        let deadline = [own, of_the_caller].into_iter().flatten().min();
        Ok(Self {
            procedure,
            payload: request.payload.clone(),
            headers: std::mem::take(&mut request.headers),
            timeout: deadline.map_or(request.timeout, |deadline| {
                deadline.saturating_duration_since(started)
            }),
            settings,
            opening: None,
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
            opening,
            deadline,
        } = self;
        settings.uri = Ok(procedure);
        settings.request.payload = payload;
        settings.request.headers = headers;
        settings.request.timeout = match deadline {
            // It bounds the silence of a stream, and not the time for all of it.
            _ if opening.is_some() => timeout,
            Some(deadline) => timeout.min(deadline.saturating_duration_since(Instant::now())),
            None => timeout,
        };
        if let Some(opening) = opening {
            return Box::pin(opening.open(settings)).await;
        }
        settings.run(|payload| Ok(payload.clone()))?.await
    }
}

/// What is inside of all layers.
pub(super) fn innermost() -> Caller {
    BoxCloneSyncService::new(service_fn(OutgoingCall::send))
}

impl<T, E> Call<T, E>
where
    T: DeserializeOwned,
    E: RpcError,
{
    /// Makes the call through the layers of its session.
    pub(super) async fn run_layered(self) -> Result<T, CallError<E>> {
        let started = Instant::now();
        let call = OutgoingCall::new(self, started)?;
        let procedure = call.procedure.clone();
        let payload = call.pass(started).await?;
        payload
            .decode()
            .map_err(|source| CallError::Decode { procedure, source })
    }

    /// Opens a stream through the layers of its session.
    pub(super) async fn stream_layered(self, credit: u32) -> Result<Reading, CallError<E>> {
        let started = Instant::now();
        let mut call = OutgoingCall::new(self, started)?;
        let procedure = call.procedure.clone();
        let opening = Opening::new(credit);
        call.opening = Some(opening.clone());
        let _: Payload = call.pass(started).await?;
        // A layer may have answered by itself.
        opening.opened().ok_or(CallError::NotAStream { procedure })
    }
}

impl OutgoingCall {
    /// Sends the call through the layers of its session, for as long as it may take.
    async fn pass<E: RpcError>(self, started: Instant) -> Result<Payload, CallError<E>> {
        let call = self;
        let session = &call.settings.request.session;
        let caller = session.shared.caller.clone().unwrap_or_else(innermost);
        let cancelled = session.inherited.as_ref();
        let cancelled = cancelled.map(|inherited| inherited.cancellation.clone());
        let (procedure, deadline) = (call.procedure.clone(), call.deadline);
        let expired = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        let cancelled = async {
            match cancelled {
                Some(cancelled) => cancelled.cancelled_owned().await,
                None => pending().await,
            }
        };
        // The layers end with the call too, whatever they wait for.
        let answer = tokio::select! {
            biased;
            () = cancelled => Err(CallError::Cancelled { procedure: procedure.clone() }),
            answer = caller.oneshot(call) => answer,
            () = expired => Err(CallError::Timeout {
                procedure: procedure.clone(),
                waited: started.elapsed(),
            }),
        };
        answer.map_err(|error| error.typed(procedure))
    }
}

/// Makes what a layer fails with an error of a call.
#[derive(Debug, Clone)]
pub(super) struct Layered<S> {
    inner: S,
    /// Why the layer will never be ready, to be told with the next call.
    failed: Option<String>,
}

impl<S> Layered<S> {
    pub(super) fn new(inner: S) -> Self {
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
