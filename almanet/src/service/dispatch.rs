//! From a message to its answer.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime},
};

use almanet_nsq::TopicName;
use futures_util::FutureExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tower::ServiceExt;

use super::{
    context::{self, Context},
    meter::Meter,
    procedure::{Handler, Request},
    reply,
    serving::Serving,
};
use crate::{
    error::{INTERNAL_ERROR, RemoteError, TIMEOUT},
    id::Id,
    session::Session,
    transport::{Delivery, Subscription},
    uri::Uri,
    wire::{Codec, Invocation, Payload, Reply},
};

/// A procedure as it is served.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) uri: Uri,
    pub(super) handler: Handler,
    pub(super) timeout: Option<Duration>,
    pub(super) concurrency: usize,
    pub(super) meter: Arc<Meter>,
}

/// What serves one procedure.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) session: Session,
    pub(super) served: Served,
    pub(super) concurrency: Arc<Semaphore>,
    /// Fires when no new calls shall be taken.
    pub(super) stop: CancellationToken,
    /// Fires when running calls shall be dropped.
    pub(super) abort: CancellationToken,
    pub(super) grace: Duration,
    /// What is seen of the service from outside, for as long as it is served.
    pub(super) _serving: Arc<Serving>,
}

/// A call that is about to run.
struct Call {
    id: Id,
    codec: Codec,
    reply_topic: Option<TopicName>,
    limits: Limits,
    request: Request,
    /// However the run ends, what the handler has spawned learns of it.
    cancel_on_return: DropGuard,
}

/// How long a call may run.
#[derive(Clone, Copy)]
struct Limits {
    /// When the caller stops waiting.
    deadline: Option<Instant>,
    /// When the procedure's own time is up.
    limit: Option<Instant>,
}

/// What becomes of the message of a call.
enum Done {
    Finish,
    Requeue,
}

/// How the run of a handler ended.
enum Run {
    Answered(Result<Payload, RemoteError>),
    /// The caller has stopped waiting.
    TimedOut,
    /// The service shall end.
    CutOff,
}

impl Worker {
    /// Serves what arrives until it is stopped, then drains.
    pub(super) async fn serve(self: Arc<Self>, mut subscription: Subscription) {
        let running = TaskTracker::new();
        while let Some((delivery, permit)) = self.next(&mut subscription).await {
            let worker = Arc::clone(&self);
            running.spawn(async move {
                match worker.handle(&delivery).await {
                    Done::Finish => finish(delivery),
                    // Dropped unanswered, the message goes back to the broker at once.
                    Done::Requeue => drop(delivery),
                }
                drop(permit);
            });
        }
        self.drain(subscription, running).await;
        tracing::info!(procedure = %self.served.uri, "stopped");
    }

    async fn next(&self, subscription: &mut Subscription) -> Option<(Delivery, OwnedSemaphorePermit)> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            next = async {
                let permit = Arc::clone(&self.concurrency).acquire_owned().await.ok()?;
                Some((subscription.recv().await?, permit))
            } => next,
        }
    }

    /// Closing requeues what was not started and waits for the answers of what runs.
    async fn drain(&self, subscription: Subscription, running: TaskTracker) {
        running.close();
        let mut ended = std::pin::pin!(async {
            subscription.close().await;
            running.wait().await;
        });
        tokio::select! {
            () = &mut ended => return,
            () = sleep(self.grace) => {}
        }
        tracing::warn!(
            procedure = %self.served.uri,
            calls = running.len(),
            "calls still run after {:?}: they are dropped and requeued", self.grace,
        );
        self.abort.cancel();
        ended.await;
    }

    async fn handle(&self, delivery: &Delivery) -> Done {
        let Some(call) = self.accept(delivery) else {
            return Done::Finish;
        };
        let Call {
            id,
            codec,
            reply_topic,
            limits,
            request,
            cancel_on_return,
        } = call;
        let meter = &*self.served.meter;
        let (started, running) = (Instant::now(), meter.start());
        let outcome = match self.run(request, id, codec, limits, delivery).await {
            Run::Answered(outcome) => {
                meter.answered(started.elapsed(), &outcome);
                outcome
            }
            Run::TimedOut => {
                meter.given_up();
                tracing::debug!(procedure = %self.served.uri, call = %id, "gave up a call: its time was up");
                return Done::Finish;
            }
            Run::CutOff => {
                meter.given_up();
                return Done::Requeue;
            }
        };
        drop(running);
        drop(cancel_on_return);
        let Some(topic) = reply_topic else {
            return Done::Finish;
        };
        let node = Arc::clone(&delivery.node);
        match reply::send(
            &**self.session.transport(),
            topic,
            node,
            codec,
            Reply::new(id, outcome),
        )
        .await
        {
            Ok(()) => Done::Finish,
            Err(error) => {
                tracing::warn!(procedure = %self.served.uri, call = %id, %error, "could not answer a call: it will be run again");
                Done::Requeue
            }
        }
    }

    /// Reads a call; `None` when the message is none, or its caller waits no more.
    fn accept(&self, delivery: &Delivery) -> Option<Call> {
        let received = Instant::now();
        let procedure = &self.served.uri;
        let invocation = match Invocation::decode(&delivery.body) {
            Ok(invocation) => invocation,
            Err(error) => {
                self.served.meter.malformed();
                tracing::warn!(%procedure, node = %delivery.node, message = %delivery.id, %error, "dropped what is no invocation");
                return None;
            }
        };
        let deadline = invocation
            .timeout
            .and_then(|timeout| received.checked_add(timeout.saturating_sub(age(delivery))));
        if deadline.is_some_and(|deadline| deadline <= received) {
            self.served.meter.expired();
            tracing::debug!(%procedure, call = %invocation.id, "dropped a call whose caller waits no more");
            return None;
        }
        let limit = self
            .served
            .timeout
            .and_then(|timeout| received.checked_add(timeout));
        let cancellation = CancellationToken::new();
        Some(Call {
            id: invocation.id,
            reply_topic: invocation.reply_topic,
            codec: invocation.payload.codec(),
            limits: Limits { deadline, limit },
            cancel_on_return: cancellation.clone().drop_guard(),
            request: Request {
                context: Context::new(context::Shared {
                    session: self.session.clone(),
                    procedure: procedure.clone(),
                    call_id: invocation.id,
                    caller_id: invocation.caller_id,
                    headers: invocation.headers,
                    deadline: [deadline, limit].into_iter().flatten().min(),
                    attempt: delivery.attempts,
                    cancellation,
                }),
                payload: invocation.payload,
            },
        })
    }

    /// Runs the handler up to the deadline, and keeps the message from being delivered to others meanwhile.
    async fn run(
        &self,
        request: Request,
        id: Id,
        codec: Codec,
        Limits { deadline, limit }: Limits,
        delivery: &Delivery,
    ) -> Run {
        let until = [deadline, limit].into_iter().flatten().min();
        let handler = AssertUnwindSafe(self.served.handler.clone().oneshot(request)).catch_unwind();
        let mut handler = std::pin::pin!(handler);

        let touch_every = delivery.message_timeout / 3;
        let mut touch_at = Instant::now() + touch_every;
        loop {
            let wake_at = until.map_or(touch_at, |until| until.min(touch_at));
            tokio::select! {
                biased;
                outcome = &mut handler => {
                    return Run::Answered(outcome.unwrap_or_else(|panic| {
                        Err(self.panicked(codec, id, panic.as_ref()))
                    }));
                }
                () = self.abort.cancelled() => return Run::CutOff,
                () = sleep_until(wake_at) => {
                    let now = Instant::now();
                    if deadline.is_some_and(|deadline| deadline <= now) {
                        return Run::TimedOut;
                    }
                    if limit.is_some_and(|limit| limit <= now) {
                        let reason = "the procedure took longer than its own limit";
                        return Run::Answered(Err(RemoteError::sentence(codec, TIMEOUT, reason)));
                    }
                    // When the connection is gone the broker delivers the message again, touched or not.
                    let _ = delivery.touch();
                    touch_at += touch_every;
                }
            }
        }
    }

    /// The caller learns that the procedure failed; why is for the log.
    fn panicked(&self, codec: Codec, call: Id, panic: &(dyn Any + Send)) -> RemoteError {
        let message = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        tracing::error!(procedure = %self.served.uri, %call, panic = message, "a procedure panicked");
        RemoteError::sentence(codec, INTERNAL_ERROR, "the procedure failed")
    }
}

fn finish(delivery: Delivery) {
    if let Err(error) = delivery.finish() {
        tracing::debug!(%error, "a call may be run again");
    }
}

/// How long ago the broker took the message in. A clock that is behind the broker's makes it zero.
pub(super) fn age(delivery: &Delivery) -> Duration {
    let published = Duration::from_nanos(u64::try_from(delivery.timestamp).unwrap_or(0));
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .saturating_sub(published)
}
