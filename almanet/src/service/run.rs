//! Runs a handler for as long as its answer is wanted.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use almanet_nsq::TopicName;
use futures_util::{
    FutureExt,
    future::{Either, poll_immediate},
};
use tokio::time::{Instant, sleep_until};

use super::{dispatch::Worker, memory::Answer, procedure::Request};
use crate::{
    error::{INTERNAL_ERROR, RemoteError, TIMEOUT},
    id::Id,
    telemetry,
    transport::Delivery,
    wire::{Codec, IDEMPOTENCY_KEY},
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
        let codec = request.payload.codec();
        let context = request.context.clone();
        let handler = context.inherited().clone().pass_on(self.answer(request));
        let handler = AssertUnwindSafe(handler).catch_unwind();
        let mut handler = std::pin::pin!(handler);
        let answered = |answer: std::thread::Result<Answer>| {
            Run::Answered(
                answer.unwrap_or_else(|panic| Err(self.panicked(codec, context.call_id(), panic.as_ref()))),
            )
        };
        // Most handlers that need no waiting end here, before there is a clock to be read or a timer to be made.
        if let Some(answer) = poll_immediate(&mut handler).await {
            return answered(answer);
        }

        let begun = Instant::now();
        let touch_every = delivery.message_timeout / 3;
        let mut touch_at = begun + touch_every;
        let mut announce_at = listener.map(|_| begun + ANNOUNCED_AFTER);
        let mut announced = None;
        loop {
            let wake_at = [limits.until(), announce_at].into_iter().flatten().min();
            let wake_at = wake_at.map_or(touch_at, |wake_at| wake_at.min(touch_at));
            tokio::select! {
                biased;
                // Before the handler, whose own calls end then too: it shall not answer for that reason.
                () = context.cancellation().cancelled(), if announced.is_some() => return Run::Cancelled,
                answer = &mut handler => return answered(answer),
                () = self.abort.cancelled() => return Run::CutOff,
                () = sleep_until(wake_at) => {}
            }
            let now = Instant::now();
            if limits.deadline.is_some_and(|deadline| deadline <= now) {
                return Run::TimedOut;
            }
            if limits.limit.is_some_and(|limit| limit <= now) {
                let reason = "the procedure took longer than its own limit";
                return Run::Answered(Err(RemoteError::sentence(codec, TIMEOUT, reason)));
            }
            if touch_at <= now {
                // When the connection is gone the broker delivers the message again, touched or not.
                let _ = delivery.touch();
                touch_at += touch_every;
            }
            if let Some(listener) = listener
                && announce_at.is_some_and(|announce_at| announce_at <= now)
            {
                announced.get_or_insert_with(|| {
                    let cancelled = context.cancellation().clone();
                    self.session
                        .enter_running(context.call_id(), context.caller_id(), cancelled)
                });
                self.session.announce(context.call_id(), listener, &delivery.node);
                // Again with every touch: the caller may have missed it, or its cancel may have been lost.
                announce_at = Some(touch_at);
            }
        }
    }

    /// What the handler answers, or has answered before.
    fn answer(&self, request: Request) -> impl Future<Output = Answer> {
        let handler = self.served.handler.clone();
        match request.context.headers().get(IDEMPOTENCY_KEY) {
            None => Either::Left(telemetry::run(handler, request)),
            Some(key) => {
                let (key, payload) = (key.to_owned(), request.payload.clone());
                // Boxed, so that calls without a key carry none of it.
                Either::Right(Box::pin(async move {
                    let replayed = || self.served.meter.replayed.increment();
                    // Only what runs has a span, not an answer that is remembered.
                    let running = async { telemetry::run(handler, request).await };
                    self.memory.answer(&key, &payload, replayed, running).await
                }))
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
