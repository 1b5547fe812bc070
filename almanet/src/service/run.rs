//! Runs a handler for as long as its answer is wanted.

use std::{any::Any, panic::AssertUnwindSafe, pin::Pin, thread, time::Duration};

use almanet_nsq::TopicName;
use futures_util::{
    FutureExt,
    future::{Either, poll_immediate},
};
use tokio::time::{Instant, sleep_until};

use super::{context::Context, dispatch::Worker, memory::Answer, procedure::Request};
use crate::{
    error::{INTERNAL_ERROR, INVALID_PAYLOAD, INVALID_RETURN, RemoteError, TIMEOUT},
    id::Id,
    panic, telemetry,
    transport::Delivery,
    wire::{Codec, IDEMPOTENCY_KEY, Payload},
};

/// A call that takes longer than this is one of which its caller should know where it runs.
pub(super) const ANNOUNCED_AFTER: Duration = Duration::from_millis(100);

/// What bounds a run beside the handler itself.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// When the caller stops waiting.
    pub(super) deadline: Option<Instant>,
    /// When the procedure's own time is up.
    pub(super) limit: Option<Instant>,
}

impl Limits {
    /// When the run ends at the latest.
    pub(super) fn until(&self) -> Option<Instant> {
        [self.deadline, self.limit].into_iter().flatten().min()
    }
}

/// How the run of a handler ended.
pub(super) enum Run {
    Answered(Answer),
    /// The caller has stopped waiting.
    TimedOut,
    /// The caller gave the call up before that.
    Cancelled,
    /// The service shall end.
    CutOff,
}

/// How the future of a handler ended.
enum Ended {
    Answered(thread::Result<Answer>),
    /// The procedure's own time is up.
    TooSlow,
    Otherwise(Run),
}

impl Worker {
    /// Runs the handler up to the deadline, and keeps the message from being delivered to others meanwhile.
    ///
    /// `listener` is where the caller takes word of where its call runs.
    pub(super) async fn run(
        &self,
        request: Request,
        limits: Limits,
        listener: Option<&TopicName>,
        delivery: &Delivery,
    ) -> Run {
        if let Err(refusal) = self.check_size(&request.payload, INVALID_PAYLOAD) {
            return Run::Answered(Err(refusal));
        }
        let codec = request.payload.codec();
        let context = request.context.clone();
        let handler = context.inherited().clone().pass_on(self.answer(request));
        let handler = AssertUnwindSafe(handler).catch_unwind();
        let mut handler = std::pin::pin!(handler);
        let answered = |answer: thread::Result<Answer>| {
            let answer =
                answer.unwrap_or_else(|panic| Err(self.panicked(codec, context.call_id(), panic.as_ref())));
            Run::Answered(
                answer.and_then(|payload| self.check_size(&payload, INVALID_RETURN).map(|()| payload)),
            )
        };
        // Most handlers that need no waiting end here, before there is a clock to be read or a timer to be made.
        let ended = match poll_immediate(&mut handler).await {
            Some(answer) => Ended::Answered(answer),
            // Boxed, so that the calls which end at once carry none of it.
            None => Box::pin(self.wait_for(handler, &context, limits, listener, delivery)).await,
        };
        match ended {
            Ended::Answered(answer) => answered(answer),
            Ended::Otherwise(run) => run,
            Ended::TooSlow => {
                let reason = "the procedure took longer than its own limit";
                Run::Answered(Err(RemoteError::sentence(codec, TIMEOUT, reason)))
            }
        }
    }

    /// Waits for a handler that takes its time.
    async fn wait_for<H>(
        &self,
        mut handler: Pin<&mut H>,
        context: &Context,
        limits: Limits,
        listener: Option<&TopicName>,
        delivery: &Delivery,
    ) -> Ended
    where
        H: Future<Output = thread::Result<Answer>>,
    {
        let begun = Instant::now();
        let touch_every = delivery.message_timeout / 3;
        let mut touch_at = begun + touch_every;
        let outlet = context.outlet();
        let mut announce_at = match outlet {
            Some(outlet) => Some(begun + outlet.first_sign()),
            None => listener.map(|_| begun + ANNOUNCED_AFTER),
        };
        let enter = || {
            let cancelled = context.cancellation().clone();
            self.session
                .enter_running(context.call_id(), context.caller_id(), cancelled)
        };
        let mut announced = outlet.map(|_| enter());
        loop {
            let wake_at = [limits.until(), announce_at].into_iter().flatten().min();
            let wake_at = wake_at.map_or(touch_at, |wake_at| wake_at.min(touch_at));
            tokio::select! {
                biased;
                // Before the handler, whose own calls end then too: it shall not answer for that reason.
                () = context.cancellation().cancelled(), if announced.is_some() => return Ended::Otherwise(Run::Cancelled),
                answer = &mut handler => return Ended::Answered(answer),
                () = self.abort.cancelled() => return Ended::Otherwise(Run::CutOff),
                () = sleep_until(wake_at) => {}
            }
            let now = Instant::now();
            if limits.deadline.is_some_and(|deadline| deadline <= now) {
                return Ended::Otherwise(Run::TimedOut);
            }
            if limits.limit.is_some_and(|limit| limit <= now) {
                return Ended::TooSlow;
            }
            if touch_at <= now {
                // When the connection is gone the broker delivers the message again, touched or not.
                let _ = delivery.touch();
                touch_at += touch_every;
            }
            if let Some(outlet) = outlet
                && announce_at.is_some_and(|announce_at| announce_at <= now)
            {
                if outlet.is_unread(now) {
                    return Ended::Otherwise(Run::Cancelled);
                }
                outlet.say_alive(&self.session);
                announce_at = Some(now + outlet.pause());
            }
            if let Some(listener) = listener
                && announce_at.is_some_and(|announce_at| announce_at <= now)
            {
                announced.get_or_insert_with(enter);
                self.session.announce(context.call_id(), listener, &delivery.node);
                // Again with every touch: the caller may have missed it, or its cancel may have been lost.
                announce_at = Some(touch_at);
            }
        }
    }

    /// What the handler answers, or has answered before.
    fn answer(&self, request: Request) -> impl Future<Output = Answer> {
        let runs = &self.served.runs;
        match request.context.headers().get(IDEMPOTENCY_KEY) {
            // Of a stream only the end could be remembered.
            Some(key) if request.context.outlet().is_none() => {
                let (key, payload) = (key.to_owned(), request.payload.clone());
                // Boxed, so that calls without a key carry none of it.
                Either::Right(Box::pin(async move {
                    let replayed = || self.served.meter.replayed.increment();
                    // Only what runs has a span, not an answer that is remembered.
                    let running = async { telemetry::run(runs, request).await };
                    self.memory.answer(&key, &payload, replayed, running).await
                }))
            }
            _ => Either::Left(telemetry::run(runs, request)),
        }
    }

    /// That what is called with, or answered, is not larger than the session allows.
    fn check_size(&self, payload: &Payload, error: &str) -> Result<(), RemoteError> {
        let size = payload.bytes().len();
        match self.session.max_payload() {
            Some(limit) if size > limit => {
                let reason = format!(
                    "{size} bytes are more than the limit of {limit} of the service: send less, or raise it by \
                     `SessionBuilder::max_payload`"
                );
                Err(RemoteError::sentence(payload.codec(), error, &reason))
            }
            _ => Ok(()),
        }
    }

    /// The caller learns that the procedure failed; why is for the log.
    fn panicked(&self, codec: Codec, call: Id, panic: &(dyn Any + Send)) -> RemoteError {
        tracing::error!(procedure = %self.served.uri, %call, panic = panic::message(panic), "a procedure panicked");
        RemoteError::sentence(codec, INTERNAL_ERROR, "the procedure failed")
    }
}
