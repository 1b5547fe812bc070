//! The layer that measures.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::Instant,
};

use metrics::{Gauge, Histogram, SharedString, Unit, describe_gauge, describe_histogram, gauge, histogram};
use tower::{Layer, Service};

use crate::{
    error::{CallError, RemoteError},
    service::Request,
    session::OutgoingCall,
    uri::Uri,
    wire::Payload,
};

/// The most procedures that one layer tells apart. The others are counted together as `other`, so that names that are
/// made while a program runs cannot fill the memory of what collects the metrics.
const MOST_PROCEDURES: usize = 1000;

/// Measures the calls that pass: how long they take and how many are under way, through the facade [`metrics`].
///
/// Around procedures the metrics are `almanet_handler_duration_seconds` and `almanet_handlers_running`; around the calls
/// of a session `almanet_call_duration_seconds` and `almanet_calls_waiting`. All are labelled with the `procedure`, the
/// durations with the `outcome` too: `docs/observability.md` has the list.
///
/// Install the recorder (or [`Prometheus`](crate::telemetry::Prometheus)) before the first call passes, and put one layer
/// around all procedures or all calls.
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
        for (duration, doing, what) in [
            (HANDLER.duration, HANDLER.doing, "handlers of calls that came in"),
            (CALL.duration, CALL.doing, "calls that went out"),
        ] {
            describe_histogram!(duration, Unit::Seconds, format!("how long {what} take"));
            describe_gauge!(doing, Unit::Count, format!("how many {what} have not ended"));
        }
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

/// What the metrics of one side are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Names {
    duration: &'static str,
    doing: &'static str,
}

const HANDLER: Names = Names {
    duration: "almanet_handler_duration_seconds",
    doing: "almanet_handlers_running",
};
const CALL: Names = Names {
    duration: "almanet_call_duration_seconds",
    doing: "almanet_calls_waiting",
};

/// The procedures that have been seen, so that their metrics are looked up once.
#[derive(Debug, Default)]
struct Known {
    procedures: RwLock<HashMap<(Names, Uri), Arc<Meters>>>,
}

impl Known {
    fn meters(&self, names: Names, procedure: &Uri) -> Arc<Meters> {
        let key = (names, procedure.clone());
        // Nothing panics while it holds the lock, so the map is whole even if the lock says poisoned.
        let known = self.procedures.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(meters) = known.get(&key) {
            return Arc::clone(meters);
        }
        let full = known.len() >= MOST_PROCEDURES;
        drop(known);
        if full {
            return Arc::new(Meters::new(names, SharedString::const_str("other")));
        }
        let meters = Arc::new(Meters::new(names, procedure.as_str().to_owned().into()));
        let mut known = self.procedures.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(key).or_insert(meters))
    }
}

struct Meters {
    names: Names,
    procedure: SharedString,
    doing: Gauge,
    ok: Histogram,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters")
            .field("procedure", &self.procedure)
            .finish_non_exhaustive()
    }
}

impl Meters {
    fn new(names: Names, procedure: SharedString) -> Self {
        Self {
            names,
            doing: gauge!(names.doing, "procedure" => procedure.clone()),
            ok: histogram!(names.duration, "procedure" => procedure.clone(), "outcome" => "ok"),
            procedure,
        }
    }
}

/// One call that is measured; dropped before it has ended, it counts as dropped.
struct Measured {
    meters: Arc<Meters>,
    started: Instant,
    outcome: &'static str,
}

impl Measured {
    fn begin(meters: Arc<Meters>) -> Self {
        meters.doing.increment(1);
        Self {
            meters,
            started: Instant::now(),
            outcome: "dropped",
        }
    }

    fn end(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let Self {
            meters,
            started,
            outcome,
        } = self;
        meters.doing.decrement(1);
        match *outcome {
            "ok" => meters.ok.record(started.elapsed()),
            outcome => {
                let procedure = meters.procedure.clone();
                histogram!(meters.names.duration, "procedure" => procedure, "outcome" => outcome)
                    .record(started.elapsed());
            }
        }
    }
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
        let measured = Measured::begin(self.known.meters(HANDLER, request.context.procedure()));
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
        let measured = Measured::begin(self.known.meters(CALL, &call.procedure));
        let answer = self.inner.call(call);
        Box::pin(async move {
            let outcome = answer.await;
            measured.end(outcome.as_ref().map_or_else(CallError::outcome, |_| "ok"));
            outcome
        })
    }
}
