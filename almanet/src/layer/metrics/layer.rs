//! The layer itself.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower::{Layer, Service};

use super::meter::{self, Known, Measured, Subject};
use crate::{
    error::{CallError, RemoteError},
    event::{Failure, IncomingEvent},
    service::Request,
    session::OutgoingCall,
    wire::Payload,
};

/// Measures the calls and the events that pass: how long they take and how many are under way, through the facade
/// [`metrics`].
///
/// Around procedures the metrics are `almanet_handler_duration_seconds` and `almanet_handlers_running`; around the calls
/// of a session `almanet_call_duration_seconds` and `almanet_calls_waiting`; around consumers
/// `almanet_event_duration_seconds`, `almanet_events_running` and `almanet_event_age_seconds`. They are labelled with the
/// `procedure`, or with the `topic` and the `channel`, and the durations with the `outcome` too: `docs/observability.md`
/// has the list.
///
/// Install the recorder (or [`Prometheus`](crate::telemetry::Prometheus)) before the first call passes, and put one layer
/// around all procedures, all calls or all consumers.
///
/// ```no_run
/// use almanet::{Service, Session, layer::MetricsLayer};
///
/// # async fn example(service: Service) -> Result<(), Box<dyn std::error::Error>> {
/// let session = Session::builder().address("127.0.0.1:4150").layer(MetricsLayer::new()).connect().await?;
/// let handle = service.layer(MetricsLayer::new()).start(&session).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct MetricsLayer {
    known: Arc<Known>,
}

impl MetricsLayer {
    /// A layer that measures.
    pub fn new() -> Self {
        meter::describe();
        Self::default()
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = MetricsService<S>;

    fn layer(&self, inner: S) -> MetricsService<S> {
        MetricsService {
            inner,
            known: Arc::clone(&self.known),
        }
    }
}

/// A service with a [`MetricsLayer`] around it.
#[derive(Debug, Clone)]
pub struct MetricsService<S> {
    inner: S,
    known: Arc<Known>,
}

impl<S> Service<Request> for MetricsService<S>
where
    S: Service<Request, Response = Payload, Error = RemoteError, Future: Send + 'static>,
{
    type Response = Payload;
    type Error = RemoteError;
    type Future = Pin<Box<dyn Future<Output = Result<Payload, RemoteError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RemoteError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let subject = Subject::Handler(request.context.procedure().clone());
        let measured = Measured::begin(self.known.meters(subject));
        let handler = self.inner.call(request);
        Box::pin(async move {
            let outcome = handler.await;
            measured.end(outcome.as_ref().map_or_else(RemoteError::outcome, |_| "ok"));
            outcome
        })
    }
}

impl<S> Service<OutgoingCall> for MetricsService<S>
where
    S: Service<OutgoingCall, Response = Payload, Error = CallError, Future: Send + 'static>,
{
    type Response = Payload;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Payload, CallError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: OutgoingCall) -> Self::Future {
        let measured = Measured::begin(self.known.meters(Subject::Call(call.procedure.clone())));
        let answer = self.inner.call(call);
        Box::pin(async move {
            let outcome = answer.await;
            measured.end(outcome.as_ref().map_or_else(CallError::outcome, |_| "ok"));
            outcome
        })
    }
}

impl<S> Service<IncomingEvent> for MetricsService<S>
where
    S: Service<IncomingEvent, Response = (), Error = Failure, Future: Send + 'static>,
{
    type Response = ();
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, event: IncomingEvent) -> Self::Future {
        let context = &event.context;
        let subject = Subject::Consumer(context.topic().clone(), Arc::clone(context.channel_label()));
        let measured = Measured::begin(self.known.meters(subject)).of_age(context.published());
        let handler = self.inner.call(event);
        Box::pin(async move {
            let outcome = handler.await;
            measured.end(outcome.as_ref().map_or_else(Failure::outcome, |()| "ok"));
            outcome
        })
    }
}
