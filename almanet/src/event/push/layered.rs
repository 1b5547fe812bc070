//! What runs for each event, and the layers around it.

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{
    TryFutureExt,
    future::{Either, MapErr},
};
use tokio_util::sync::ReusableBoxFuture;
use tower::{
    BoxError, Layer, Service, ServiceExt, load_shed, service_fn, timeout, util::BoxCloneSyncService,
};

use super::context::EventContext;
use crate::{
    event::failure::{Failure, Passing},
    wire::{Codec, Payload},
};

/// What runs for each event, as a [`tower::Service`].
pub type EventHandler = BoxCloneSyncService<IncomingEvent, (), Failure>;

/// An event as an [`EventHandler`] takes it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IncomingEvent {
    /// The circumstances of the event.
    pub context: EventContext,
    /// The event, not yet read.
    pub payload: Payload,
}

/// The user's function, which reads the payload by itself before it has a future, in the memory of another that is over.
pub(super) type Function = Arc<dyn Fn(EventContext, Codec, &Bytes, Option<Running>) -> Running + Send + Sync>;

/// A handler at work.
pub(super) type Running = ReusableBoxFuture<'static, Result<(), Failure>>;

/// Puts `handler` into the memory of another that is over, where there is one.
pub(super) fn running(
    spare: Option<Running>,
    handler: impl Future<Output = Result<(), Failure>> + Send + 'static,
) -> Running {
    match spare {
        None => Running::new(handler),
        Some(mut running) => {
            running.set(handler);
            running
        }
    }
}

/// What runs for each event. Without layers nothing is paid for them.
#[derive(Clone)]
pub(super) enum Runs {
    Bare(Function),
    Layered(EventHandler),
}

impl Runs {
    /// Begins to handle an event, in the memory of another that is over.
    pub(super) fn run(
        &self,
        context: EventContext,
        codec: Codec,
        payload: &Bytes,
        spare: Option<Running>,
    ) -> Running {
        match self {
            Self::Bare(function) => function(context, codec, payload, spare),
            Self::Layered(handler) => {
                let payload = Payload::from_bytes(codec, payload.clone());
                let event = IncomingEvent { context, payload };
                running(spare, handler.clone().oneshot(event))
            }
        }
    }

    pub(super) fn layer<L>(self, layer: &L) -> Self
    where
        L: Layer<EventHandler>,
        L::Service: Service<IncomingEvent, Response = (), Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let inner = match self {
            Self::Layered(handler) => handler,
            Self::Bare(function) => BoxCloneSyncService::new(service_fn(move |event: IncomingEvent| {
                function(event.context, event.payload.codec(), event.payload.bytes(), None)
            })),
        };
        Self::Layered(BoxCloneSyncService::new(Layered {
            inner: layer.layer(inner),
            failed: None,
        }))
    }
}

/// Makes what a layer fails with a failure of the event.
#[derive(Debug, Clone)]
struct Layered<S> {
    inner: S,
    /// Why the layer will never be ready, to be told with the next event.
    failed: Option<Failure>,
}

impl<S> Service<IncomingEvent> for Layered<S>
where
    S: Service<IncomingEvent, Response = (), Error: Into<BoxError>>,
{
    type Response = ();
    type Error = Failure;
    type Future = Either<MapErr<S::Future, fn(S::Error) -> Failure>, Ready<Result<(), Failure>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx).map(|ready| {
            self.failed = ready.err().map(failed);
            Ok(())
        })
    }

    fn call(&mut self, event: IncomingEvent) -> Self::Future {
        match self.failed.take() {
            Some(failure) => Either::Right(ready(Err(failure))),
            None => Either::Left(self.inner.call(event).map_err(failed)),
        }
    }
}

fn failed(error: impl Into<BoxError>) -> Failure {
    let error = error.into();
    match error.downcast::<Passing>() {
        Ok(passing) => passing.0,
        Err(error) if error.is::<timeout::error::Elapsed>() => {
            Failure::retry("it took longer than a layer allows")
        }
        Err(error) if error.is::<load_shed::error::Overloaded>() => {
            Failure::retry("this instance handles all the events that it may handle at once")
        }
        Err(error) => Failure::from_error(&*error),
    }
}
