//! How a call waits for its turn: in its place, for as long as its caller waits.

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    dispatch::{Accepted, Call, Done, TOO_LONG, Worker},
    run::ANNOUNCED_AFTER,
    turn::Turn,
};
use crate::{telemetry, transport::Delivery};

/// What became of a call that waited.
enum Waited {
    Runs(OwnedSemaphorePermit),
    TooLong,
    /// Its caller has stopped waiting.
    Expired,
    /// Its caller gave it up before that.
    Cancelled,
    /// The service stops.
    Stopped,
}

impl Worker {
    /// Runs a call when its turn has come, or answers that it will not.
    pub(super) async fn wait(&self, delivery: &Delivery, turn: Turn) -> Done {
        let place = match turn {
            Turn::Runs(permit) => return self.handle(delivery, permit).await,
            Turn::Waits(place) => Some(place),
            Turn::TooMany => None,
        };
        let call = match self.look_at(delivery).await {
            Accepted::Call(call) => call,
            Accepted::TooOld(address) => return self.refuse(address, TOO_LONG),
            Accepted::Refused(topic, reply) => return Done::Reply(topic, *reply),
            Accepted::Doubtful | Accepted::Nothing => return Done::Finish,
        };
        let Some(place) = place else {
            return self.refuse(call.address, "too many calls wait");
        };
        let meter = &*self.served.meter;
        match self.wait_in(place, &call, delivery).await {
            // It is read again then, for its own time begins with its run.
            Waited::Runs(permit) => self.handle(delivery, Some(permit)).await,
            Waited::TooLong => self.refuse(call.address, TOO_LONG),
            Waited::Stopped => Done::Requeue,
            Waited::Expired => {
                meter.expired.increment();
                tracing::debug!(procedure = %self.served.uri, call = %call.address.id, "dropped a call whose caller waits no more");
                telemetry::unanswered(&self.served.uri, "expired");
                Done::Finish
            }
            Waited::Cancelled => {
                meter.cancelled.increment();
                tracing::debug!(procedure = %self.served.uri, call = %call.address.id, "gave up a call: its caller did");
                telemetry::unanswered(&self.served.uri, "cancelled");
                Done::Finish
            }
        }
    }

    /// Waits for a running call to end, and keeps the message from being delivered to others meanwhile. The place is
    /// free for another call as soon as this one does not wait any more.
    async fn wait_in(&self, _place: OwnedSemaphorePermit, call: &Call, delivery: &Delivery) -> Waited {
        let begun = Instant::now();
        let too_long_at = self
            .room
            .longest_wait()
            .and_then(|longest| begun.checked_add(longest));
        let deadline = call.limits.deadline;
        let touch_every = delivery.message_timeout / 3;
        let mut touch_at = begun + touch_every;
        let context = &call.request.context;
        // Callers of streams do not cancel by their calls.
        let listener = call.address.listener().filter(|_| context.outlet().is_none());
        let mut announce_at = listener.map(|_| begun + ANNOUNCED_AFTER);
        let cancelled = CancellationToken::new();
        let mut announced = None;
        let mut turn = std::pin::pin!(self.room.turn());
        loop {
            let wake_at = [too_long_at, deadline, announce_at].into_iter().flatten().min();
            let wake_at = wake_at.map_or(touch_at, |wake_at| wake_at.min(touch_at));
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Waited::Stopped,
                () = cancelled.cancelled(), if announced.is_some() => return Waited::Cancelled,
                permit = &mut turn => return permit.map_or(Waited::Stopped, Waited::Runs),
                () = sleep_until(wake_at) => {}
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Waited::Expired;
            }
            if too_long_at.is_some_and(|too_long_at| too_long_at <= now) {
                return Waited::TooLong;
            }
            if touch_at <= now {
                // When the connection is gone the broker delivers the message again, touched or not.
                let _ = delivery.touch();
                touch_at += touch_every;
            }
            if let Some(listener) = listener
                && announce_at.is_some_and(|announce_at| announce_at <= now)
            {
                // Its caller cancels here what it has given up, as it does with a call that runs.
                announced.get_or_insert_with(|| {
                    let (call_id, caller_id) = (context.call_id(), context.caller_id());
                    self.session.enter_running(call_id, caller_id, cancelled.clone())
                });
                self.session.announce(context.call_id(), listener, &delivery.node);
                announce_at = Some(touch_at);
            }
        }
    }
}
