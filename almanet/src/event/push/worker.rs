//! From an event to its answer.

use std::{
    any::Any,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use almanet_nsq::TopicName;
use bytes::Bytes;
use futures_util::{FutureExt, future::poll_immediate};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    context::{self, EventContext, Surroundings},
    layered::Runs,
};
use crate::{
    cancellation::Cancellation,
    drain::drain,
    event::{
        dead_letter::{Burial, Reason},
        failure::{Failure, FailureKind},
        incoming::{Entrance, Incoming, answered, published},
        retry::{EventRetry, Place},
        topics::CheckedTopics,
    },
    panic,
    runner::Runner,
    telemetry::{self, Answered, Timing},
    transport::{Delivery, Subscription},
    wire::{EventBody, Headers, Payload},
};

/// What handles the events of one consumer.
pub(super) struct Worker {
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) entrance: Entrance,
    pub(super) topics: CheckedTopics,
    pub(super) handler: Runs,
    pub(super) concurrency: usize,
    pub(super) max_attempts: u32,
    pub(super) retry: EventRetry,
    pub(super) timeout: Option<Duration>,
    pub(super) grace: Duration,
    /// Ends what still runs.
    pub(super) abort: CancellationToken,
}

/// How the run of a handler ended that was not cut off.
enum Ended {
    Handled(thread::Result<Result<(), Failure>>),
    TooSlow(Duration),
}

impl Worker {
    /// Handles what arrives until it is stopped, then drains.
    pub(super) async fn run(self: Arc<Self>, mut subscription: Subscription, stop: CancellationToken) {
        let mut runner = Runner::limited(self.concurrency);
        while let Some(delivery) = self.next(&runner, &mut subscription, &stop).await {
            if let Some(event) = self.entrance.admit(delivery) {
                runner.run(Arc::clone(&self).handle(event));
                runner.pause().await;
            }
        }
        let late = |events| {
            tracing::warn!(
                topic = %self.topics,
                channel = %self.entrance.channel,
                events,
                "events are still handled after {:?}: they are dropped and requeued", self.grace,
            );
        };
        drain(subscription, runner.into_tasks(), self.grace, &self.abort, late).await;
        tracing::info!(topic = %self.topics, channel = %self.entrance.channel, "stopped");
    }

    async fn next(
        &self,
        runner: &Runner,
        subscription: &mut Subscription,
        stop: &CancellationToken,
    ) -> Option<Delivery> {
        if stop.is_cancelled() {
            return None;
        }
        tokio::select! {
            biased;
            next = async {
                runner.room().await;
                subscription.recv().await
            } => next,
            // Last: waiting for it costs more than looking.
            () = stop.cancelled() => None,
        }
    }

    /// Handles one event and answers its message. Where it is dropped unanswered, it is delivered again at once.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an async function has room for each argument twice"
    )]
    fn handle(self: Arc<Self>, mut event: Incoming) -> impl Future<Output = ()> {
        async move {
            let id = event.delivery.id;
            let max_deferral = self.surroundings.session.max_deferral();
            let attempt = match self.retry.place(event.attempts, id, max_deferral) {
                Place::Run(attempt) => attempt,
                Place::Wait(rest) => return event.defer(rest.min(max_deferral)),
            };
            let Some(topic) = self.topics.of_message(event.delivery.topic.as_deref()) else {
                return;
            };
            let body = match &mut event.body {
                Ok(body) => body,
                Err(error) => {
                    let failure = Failure::undecodable(error);
                    return Box::pin(self.failed(event, &topic, attempt, &failure)).await;
                }
            };
            if attempt > self.max_attempts {
                let failure = Failure::retry(
                    "it was delivered more often than it may be handled: its consumers died with it, or could not put it aside",
                );
                return Box::pin(self.failed(event, &topic, self.max_attempts, &failure)).await;
            }
            // A clone would have its share in the memory that the bodies of one read have in common, and several threads
            // count those shares. Where the event fails, its body is read again.
            let nothing = EventBody::new(
                Headers::new(),
                Payload::from_bytes(body.payload.codec(), Bytes::new()),
            );
            let EventBody { headers, payload } = mem::replace(body, nothing);
            let published = SystemTime::UNIX_EPOCH.checked_add(published(&event.delivery));
            let context = EventContext::new(context::Shared {
                surroundings: Arc::clone(&self.surroundings),
                topic,
                id,
                node: Arc::clone(&event.delivery.node),
                published: published.unwrap_or(SystemTime::UNIX_EPOCH),
                headers,
                attempt,
                last_attempt: attempt >= self.max_attempts,
                cancellation: Cancellation::default(),
            });
            let end = context.end_on_drop();
            let mut timing = event.begin();
            let outcome = self
                .attempt(end.context(), context, payload, &event.delivery, &mut timing)
                .await;
            end.over();
            if outcome.is_some() {
                self.entrance.consumed.attempted(timing);
            }
            match outcome {
                // The service is cut off.
                None => {}
                Some(Ok(())) => answered(event.finish(Answered::Ok)),
                // Boxed, so that events that fare well carry none of it.
                Some(Err(failure)) => {
                    event.body = self.entrance.read(&event.delivery);
                    Box::pin(self.failed(event, end.context().topic(), attempt, &failure)).await;
                }
            }
        }
    }

    /// Runs the handler, and keeps the message from being delivered to others meanwhile; `None` when it is cut off.
    async fn attempt(
        &self,
        around: &EventContext,
        context: EventContext,
        payload: Payload,
        delivery: &Delivery,
        timing: &mut Timing,
    ) -> Option<Result<(), Failure>> {
        let ended = |outcome: thread::Result<Result<(), Failure>>| {
            Some(outcome.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))))
        };
        // The handler itself may panic before there is a future.
        let begin = || telemetry::consume(around, || self.handler.run(context, payload));
        let mut running = match catch_unwind(AssertUnwindSafe(begin)) {
            Ok(running) => AssertUnwindSafe(running).catch_unwind(),
            Err(panic) => return ended(Err(panic)),
        };
        let mut running = Pin::new(&mut running);
        // Most handlers that need no waiting end here, before there is a clock to be read or a timer to be made.
        match poll_immediate(&mut running).await {
            Some(outcome) => ended(outcome),
            // Boxed, so that the events which are handled at once carry none of it.
            None => {
                timing.waits();
                match Box::pin(self.wait_for(running, delivery)).await? {
                    Ended::Handled(outcome) => ended(outcome),
                    Ended::TooSlow(timeout) => Some(Err(Failure::retry(format_args!(
                        "it took longer than {timeout:?}"
                    )))),
                }
            }
        }
    }

    /// Waits for a handler that takes its time; `None` when it is cut off.
    async fn wait_for<H>(&self, mut running: Pin<&mut H>, delivery: &Delivery) -> Option<Ended>
    where
        H: Future<Output = thread::Result<Result<(), Failure>>>,
    {
        let started = Instant::now();
        let ends_at = self.timeout.and_then(|timeout| started.checked_add(timeout));
        let touch_every = (delivery.message_timeout / 3).max(Duration::from_millis(1));
        let mut touch_at = started + touch_every;
        loop {
            let wake_at = ends_at.map_or(touch_at, |ends_at| ends_at.min(touch_at));
            tokio::select! {
                biased;
                outcome = &mut running => return Some(Ended::Handled(outcome)),
                () = self.abort.cancelled() => return None,
                () = sleep_until(wake_at) => {
                    if let (Some(ends_at), Some(timeout)) = (ends_at, self.timeout)
                        && ends_at <= Instant::now()
                    {
                        return Some(Ended::TooSlow(timeout));
                    }
                    // When the connection is gone the broker delivers the message again, touched or not.
                    let _ = delivery.touch();
                    touch_at += touch_every;
                }
            }
        }
    }

    /// Defers the event, or puts it aside.
    async fn failed(&self, event: Incoming, topic: &TopicName, attempt: u32, failure: &Failure) {
        let reason = match failure.kind {
            FailureKind::Permanent => Some(Reason::Permanent),
            FailureKind::Undecodable => Some(Reason::Undecodable),
            FailureKind::Retry | FailureKind::RetryAfter(_) => {
                (attempt >= self.max_attempts).then_some(Reason::Attempts)
            }
        };
        let (channel, error) = (&self.entrance.channel, failure.message());
        let delay = match failure.kind {
            FailureKind::RetryAfter(delay) => delay,
            _ => self.retry.delay(attempt, event.delivery.id),
        };
        let session = &self.surroundings.session;
        let delay = delay.min(session.max_deferral());
        let (message, node) = (event.delivery.id, Arc::clone(&event.delivery.node));
        if let Some(reason) = reason {
            let burial = Burial {
                topic,
                channel,
                reason,
                error,
                attempts: attempt,
            };
            match burial.publish(session, &event).await {
                Ok(()) => {
                    tracing::warn!(%topic, %channel, event = %message, %node, %reason, attempt, error, "an event is a dead letter");
                    return answered(event.finish(Answered::DeadLetter));
                }
                Err(refused) => {
                    tracing::error!(
                        %topic, %channel, event = %message, %node, error = &refused as &dyn std::error::Error,
                        "an event cannot be put aside: it stays, and comes again in {delay:?}",
                    );
                    return answered(event.requeue(delay, Answered::NotPutAside));
                }
            }
        }
        tracing::warn!(%topic, %channel, event = %message, %node, attempt, error, "an event failed: it comes again in {delay:?}");
        answered(event.requeue(delay, Answered::Retried));
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    Failure::retry(format_args!("the handler panicked: {}", panic::message(panic)))
}
