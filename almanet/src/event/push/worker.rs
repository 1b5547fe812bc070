//! From an event to its answer.

use std::{
    any::Any,
    future::{self, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    task::coop,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    context::{About, End, EventContext, Surroundings},
    layered::{Running, Runs, running},
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
    telemetry::{Answered, ConsumeSpan, Timing},
    transport::{Delivery, Subscription},
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

/// An attempt at an event that takes its time. Dropped, it is over, and the event is delivered again at once.
struct Attempt {
    end: End,
    event: Incoming,
    timing: Timing,
}

/// What an attempt that is over leaves to the next one, so that it needs no memory of its own.
#[derive(Default)]
struct Spare {
    context: Option<EventContext>,
    running: Option<Running>,
}

/// Whether there are more events to be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    WhenThereIsRoom,
    None,
}

/// How far the first poll has brought a handler.
enum Begun {
    Ended(Result<(), Failure>),
    Waits(Running),
}

/// What is left to do for an event. Boxed, so that those which are handled at once carry none of it.
type Rest = BoxFuture<'static, ()>;

impl Worker {
    /// Handles what arrives until it is stopped, then drains.
    pub(super) async fn run(self: Arc<Self>, mut subscription: Subscription, stop: CancellationToken) {
        let mut runner = Runner::limited(self.concurrency);
        let mut spare = Spare::default();
        loop {
            let events =
                poll_fn(|cx| self.poll_events(cx, &mut subscription, &mut runner, &mut spare, &stop));
            tokio::select! {
                biased;
                more = events => if more == More::None { break },
                // Last: waiting for it costs more than looking.
                () = stop.cancelled() => break,
            }
            tokio::select! {
                () = runner.room() => {}
                () = stop.cancelled() => break,
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

    /// Handles one event after another, for as long as there are some and room for them. An event is large, so it does not go
    /// through the futures that would wait for the next one.
    fn poll_events(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        subscription: &mut Subscription,
        runner: &mut Runner,
        spare: &mut Spare,
        stop: &CancellationToken,
    ) -> Poll<More> {
        while !stop.is_cancelled() {
            if !runner.has_room() {
                return Poll::Ready(More::WhenThereIsRoom);
            }
            // A subscription that always has a next message would let nothing else of this thread run.
            let budget = ready!(coop::poll_proceed(cx));
            let Some(delivery) = ready!(subscription.poll_recv(cx)) else {
                break;
            };
            budget.made_progress();
            let mut event = self.entrance.admit(delivery);
            if !runner.gives_tasks() {
                runner.begin(|| self.begin(event.take()?, spare));
            } else if let Some(event) = event {
                runner.spawn(Arc::clone(self).handle(event));
            }
        }
        Poll::Ready(More::None)
    }

    /// Handles an event in a task of its own.
    async fn handle(self: Arc<Self>, event: Incoming) {
        if let Some(rest) = self.begin(event, &mut Spare::default()) {
            rest.await;
        }
    }

    /// Handles an event as far as that needs no waiting. Most handlers end here, before there is a clock to be read or a timer
    /// to be made. Where the event is dropped unanswered, it is delivered again at once.
    fn begin(self: &Arc<Self>, mut event: Incoming, spare: &mut Spare) -> Option<Rest> {
        let id = event.delivery.id;
        let max_deferral = self.surroundings.session.max_deferral();
        let number = match self.retry.place(event.attempts, id, max_deferral) {
            Place::Run(number) => number,
            Place::Wait(rest) => {
                event.defer(rest.min(max_deferral));
                return None;
            }
        };
        if let Err(error) = event.payload() {
            let failure = Failure::undecodable(error);
            return self.failed(event, number, &failure);
        }
        if number > self.max_attempts {
            let failure = Failure::retry(
                "it was delivered more often than it may be handled: its consumers died with it, or could not put it aside",
            );
            return self.failed(event, self.max_attempts, &failure);
        }
        let about = About {
            id,
            published: published(&event.delivery),
            headers: event.take_headers(),
            attempt: number,
            last_attempt: number >= self.max_attempts,
            cancellation: Cancellation::default(),
        };
        let topic = self.topics.of_message(event.delivery.topic.as_deref())?;
        let node = &event.delivery.node;
        let context = EventContext::reusing(spare.context.take(), &self.surroundings, topic, node, about);
        let mut timing = event.begin();
        match self.poll_first(context.clone(), &event, &mut spare.running) {
            Begun::Ended(outcome) => {
                let rest = self.conclude(event, &context, timing, outcome);
                spare.context = Some(context);
                rest
            }
            Begun::Waits(running) => {
                timing.waits();
                let attempt = Attempt {
                    end: End(context),
                    event,
                    timing,
                };
                Some(Box::pin(Arc::clone(self).go_on(attempt, running)))
            }
        }
    }

    /// Runs the handler up to its first wait.
    fn poll_first(&self, context: EventContext, event: &Incoming, spare: &mut Option<Running>) -> Begun {
        // The handler itself may panic before there is a future.
        let begun = catch_unwind(AssertUnwindSafe(|| {
            let mut running = self.start(context, event, spare.take());
            match (&mut running).now_or_never() {
                Some(outcome) => {
                    *spare = Some(running);
                    Begun::Ended(outcome)
                }
                None => Begun::Waits(running),
            }
        }));
        begun.unwrap_or_else(|panic| Begun::Ended(Err(panicked(&*panic))))
    }

    /// Begins to run the handler, in its span where somebody looks or a trace came in.
    fn start(&self, context: EventContext, event: &Incoming, spare: Option<Running>) -> Running {
        let (codec, payload) = match event.payload() {
            Ok(payload) => payload,
            Err(error) => return running(spare, future::ready(Err(Failure::undecodable(error)))),
        };
        match ConsumeSpan::open(&context) {
            None => self.handler.run(context, codec, payload, spare),
            Some(span) => {
                let (handler, payload) = (self.handler.clone(), payload.clone());
                let handling = async move { handler.run(context, codec, &payload, None).await };
                running(spare, span.watch(handling))
            }
        }
    }

    /// Waits for a handler that takes its time, and answers its message.
    async fn go_on(self: Arc<Self>, attempt: Attempt, running: Running) {
        // Dropped in reverse: the attempt is over before its message goes back.
        let Attempt { event, timing, end } = attempt;
        // Otherwise the service is cut off.
        if let Some(outcome) = self.wait_for(running, &event.delivery).await
            && let Some(rest) = self.conclude(event, &end.0, timing, outcome)
        {
            rest.await;
        }
    }

    /// Waits for a handler, and keeps the message from being delivered to others meanwhile; `None` when it is cut off.
    async fn wait_for(&self, running: Running, delivery: &Delivery) -> Option<Result<(), Failure>> {
        let mut running = AssertUnwindSafe(running).catch_unwind();
        let started = Instant::now();
        let ends_at = self.timeout.and_then(|timeout| started.checked_add(timeout));
        let touch_every = (delivery.message_timeout / 3).max(Duration::from_millis(1));
        let mut touch_at = started + touch_every;
        loop {
            let wake_at = ends_at.map_or(touch_at, |ends_at| ends_at.min(touch_at));
            tokio::select! {
                biased;
                outcome = &mut running => {
                    return Some(outcome.unwrap_or_else(|panic| Err(panicked(&*panic))));
                }
                () = self.abort.cancelled() => return None,
                () = sleep_until(wake_at) => {
                    if let (Some(ends_at), Some(timeout)) = (ends_at, self.timeout)
                        && ends_at <= Instant::now()
                    {
                        return Some(Err(Failure::retry(format_args!("it took longer than {timeout:?}"))));
                    }
                    // When the connection is gone the broker delivers the message again, touched or not.
                    let _ = delivery.touch();
                    touch_at += touch_every;
                }
            }
        }
    }

    /// Answers the message of an attempt that has ended; what takes time is returned.
    fn conclude(
        self: &Arc<Self>,
        mut event: Incoming,
        context: &EventContext,
        timing: Timing,
        outcome: Result<(), Failure>,
    ) -> Option<Rest> {
        context.over();
        self.entrance.consumed.attempted(timing);
        match outcome {
            Ok(()) => {
                answered(event.finish(Answered::Ok));
                None
            }
            Err(failure) => {
                self.entrance.read_again(&mut event);
                self.failed(event, context.attempt(), &failure)
            }
        }
    }

    /// Has the event delivered again, or puts it aside, which takes time and is returned.
    fn failed(self: &Arc<Self>, event: Incoming, attempt: u32, failure: &Failure) -> Option<Rest> {
        let topic = self.topics.of_message(event.delivery.topic.as_deref())?;
        let reason = match failure.kind {
            FailureKind::Permanent => Some(Reason::Permanent),
            FailureKind::Undecodable => Some(Reason::Undecodable),
            FailureKind::Retry | FailureKind::RetryAfter(_) => {
                (attempt >= self.max_attempts).then_some(Reason::Attempts)
            }
        };
        let delay = match failure.kind {
            FailureKind::RetryAfter(delay) => delay,
            _ => self.retry.delay(attempt, event.delivery.id),
        };
        let delay = delay.min(self.surroundings.session.max_deferral());
        if let Some(reason) = reason {
            let (worker, topic, error) = (Arc::clone(self), topic.clone(), failure.message().to_owned());
            return Some(Box::pin(async move {
                let burial = Burial {
                    topic: &topic,
                    channel: &worker.entrance.channel,
                    reason,
                    error: &error,
                    attempts: attempt,
                };
                worker.put_aside(event, &burial, delay).await;
            }));
        }
        let (channel, id, node) = (&self.entrance.channel, event.delivery.id, &event.delivery.node);
        tracing::warn!(%topic, %channel, event = %id, %node, attempt, error = failure.message(), "an event failed: it comes again in {delay:?}");
        answered(event.requeue(delay, Answered::Retried));
        None
    }

    /// Makes the event a dead letter. It comes again after `delay` where that cannot be.
    async fn put_aside(&self, event: Incoming, burial: &Burial<'_>, delay: Duration) {
        let Burial {
            topic,
            channel,
            reason,
            error,
            attempts,
        } = *burial;
        let (id, node) = (event.delivery.id, &event.delivery.node);
        match burial.publish(&self.surroundings.session, &event).await {
            Ok(()) => {
                tracing::warn!(%topic, %channel, event = %id, %node, %reason, attempt = attempts, error, "an event is a dead letter");
                answered(event.finish(Answered::DeadLetter));
            }
            Err(refused) => {
                tracing::error!(
                    %topic, %channel, event = %id, %node, error = &refused as &dyn std::error::Error,
                    "an event cannot be put aside: it stays, and comes again in {delay:?}",
                );
                answered(event.requeue(delay, Answered::NotPutAside));
            }
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    Failure::retry(format_args!("the handler panicked: {}", panic::message(panic)))
}
