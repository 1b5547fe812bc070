//! From a message to its answer.

use std::{sync::Arc, time::Duration};

use almanet_nsq::TopicName;
use futures_util::future::BoxFuture;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    context::{self, Context},
    forward::{self, Forward},
    layered::Runs,
    memory::{Answer, Memory},
    meter::Meter,
    procedure::Request,
    reply,
    run::{Limits, Run},
    serving::Serving,
    stream::{Asked, Outlet},
    turn::{Room, Turn},
};
use crate::{
    cancellation::{Cancellation, EndOnDrop},
    drain::drain,
    error::{OVERLOADED, RemoteError},
    id::Id,
    runner::Runner,
    session::{Inherited, Session, unix_nanos},
    telemetry,
    transport::{Delivery, Subscription},
    uri::Uri,
    wire::{Codec, Invocation, RESPONDER, Reply, StreamItems},
};

/// A procedure as it is served.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) uri: Uri,
    pub(super) runs: Runs,
    pub(super) timeout: Option<Duration>,
    /// How long a call may have waited before it is run.
    pub(super) queue_time: Option<Duration>,
    /// Whether it answers with a stream.
    pub(super) streaming: bool,
    pub(super) meter: Arc<Meter>,
}

/// What serves one procedure.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) session: Session,
    pub(super) served: Served,
    pub(super) room: Room,
    pub(super) memory: Memory,
    /// Fires when no new calls shall be taken.
    pub(super) stop: CancellationToken,
    /// Fires when running calls shall be dropped.
    pub(super) abort: CancellationToken,
    pub(super) grace: Duration,
    /// What is seen of the service from outside, for as long as it is served.
    pub(super) serving: Arc<Serving>,
}

/// A call that is about to run.
pub(super) struct Call {
    received: Instant,
    pub(super) address: ReplyAddress,
    pub(super) limits: Limits,
    pub(super) request: Request,
    /// However the run ends, what the handler has spawned learns of it.
    ends_on_return: EndOnDrop,
}

/// Whose call it is and how it is answered.
pub(super) struct ReplyAddress {
    pub(super) id: Id,
    codec: Codec,
    topic: Option<TopicName>,
    takes_control: bool,
    /// Who answers, if the caller wants to know.
    responder: Option<Id>,
    /// What becomes of the answer instead, when nobody waits for it.
    forward: Option<Box<Forward>>,
}

/// What a message turns out to be.
pub(super) enum Accepted {
    Call(Call),
    /// It has waited too long to be run.
    TooOld(ReplyAddress),
    /// By the clocks, much of its time has passed; but the clocks may disagree.
    Doubtful,
    /// It cannot be run, and its caller is told.
    Refused(TopicName, Box<Reply>),
    /// It is no call, or its caller waits no more.
    Nothing,
}

/// What becomes of the message of a call.
pub(super) enum Done {
    Finish,
    Reply(TopicName, Reply),
    Forward(Box<Forward>, Answer),
    End(TopicName, Box<StreamItems>),
    Requeue,
    /// As [`Requeue`](Self::Requeue), but not at once.
    Later,
}

impl ReplyAddress {
    /// Where the caller takes word of where its call is.
    pub(super) fn listener(&self) -> Option<&TopicName> {
        self.topic.as_ref().filter(|_| self.takes_control)
    }
}

impl Worker {
    /// Serves what arrives until it is stopped, then drains.
    pub(super) async fn serve(self: Arc<Self>, mut subscription: Subscription) {
        let mut runner = self.room.runner();
        while let Some((delivery, turn)) = self.next(&runner, &mut subscription).await {
            let worker = Arc::clone(&self);
            let call = async move {
                let done = match turn {
                    Turn::Runs(permit) => worker.handle(&delivery, permit).await,
                    // Boxed, so that calls that run at once carry none of it.
                    waits => Box::pin(worker.wait(&delivery, waits)).await,
                };
                if let Some(rest) = worker.conclude(delivery, done) {
                    rest.await;
                }
            };
            runner.run(call);
            runner.pause().await;
        }
        let late = |calls| {
            tracing::warn!(
                procedure = %self.served.uri,
                calls,
                "calls still run after {:?}: they are dropped and requeued", self.grace,
            );
        };
        drain(subscription, runner.into_tasks(), self.grace, &self.abort, late).await;
        tracing::info!(procedure = %self.served.uri, "stopped");
    }

    async fn next(&self, runner: &Runner, subscription: &mut Subscription) -> Option<(Delivery, Turn)> {
        if self.stop.is_cancelled() {
            return None;
        }
        tokio::select! {
            biased;
            next = self.room.next(runner, subscription) => next,
            // Last: waiting for it costs more than looking.
            () = self.stop.cancelled() => None,
        }
    }

    /// Runs a call and answers it.
    pub(super) async fn handle(&self, delivery: &Delivery, _permit: Option<OwnedSemaphorePermit>) -> Done {
        let Call {
            received,
            address,
            limits,
            request,
            ends_on_return,
        } = match self.look_at(delivery).await {
            Accepted::Call(call) => call,
            Accepted::TooOld(address) => return self.refuse(address, TOO_LONG),
            Accepted::Refused(topic, reply) => return Done::Reply(topic, *reply),
            Accepted::Doubtful | Accepted::Nothing => return Done::Finish,
        };
        let meter = &*self.served.meter;
        let running = meter.start();
        let outlet = request.context.outlet().cloned();
        let listener = address.listener().filter(|_| outlet.is_none());
        if outlet.is_some() && !Box::pin(self.hear_caller()).await {
            return Done::Requeue;
        }
        let answer = match self.run(request, limits, listener, delivery).await {
            Run::Answered(answer) => {
                meter.answered(received.elapsed(), &answer);
                answer
            }
            Run::TimedOut => {
                meter.timed_out.increment();
                tracing::debug!(procedure = %self.served.uri, call = %address.id, "gave up a call: its time was up");
                telemetry::unanswered(&self.served.uri, "timed_out");
                return Done::Finish;
            }
            Run::Cancelled => {
                meter.cancelled.increment();
                tracing::debug!(procedure = %self.served.uri, call = %address.id, "gave up a call: its caller did");
                telemetry::unanswered(&self.served.uri, "cancelled");
                return Done::Finish;
            }
            Run::CutOff => {
                meter.cut_off.increment();
                telemetry::unanswered(&self.served.uri, "cut_off");
                return match outlet {
                    Some(outlet) => Box::pin(outlet.cut_off(&self.session)).await,
                    None => Done::Requeue,
                };
            }
        };
        drop(running);
        drop(ends_on_return);
        match outlet {
            Some(outlet) => Box::pin(outlet.finish(&self.session, answer)).await,
            None => reply_to(address, answer),
        }
    }

    pub(super) fn refuse(&self, address: ReplyAddress, reason: &str) -> Done {
        if address.forward.is_some() {
            // Nobody waits who could try again.
            return Done::Later;
        }
        self.served.meter.overloaded.increment();
        tracing::debug!(procedure = %self.served.uri, call = %address.id, reason, "refused a call");
        let refusal = RemoteError::sentence(address.codec, OVERLOADED, reason);
        reply_to(address, Err(refusal))
    }

    /// Does with the message what is to be done; what takes time is returned, boxed, so that most calls carry none of it.
    fn conclude(self: Arc<Self>, delivery: Delivery, done: Done) -> Option<BoxFuture<'static, ()>> {
        match done {
            Done::Finish => finish(delivery),
            Done::Reply(topic, reply) => return self.reply(delivery, topic, reply),
            Done::Forward(forward, answer) => {
                return Some(Box::pin(
                    async move { self.forward(delivery, forward, answer).await },
                ));
            }
            Done::End(topic, end) => {
                return Some(Box::pin(
                    async move { self.end_stream(delivery, topic, *end).await },
                ));
            }
            Done::Later => {
                // When the connection is gone the broker delivers the message again anyway.
                let _ = delivery.requeue(LATER);
            }
            // Dropped unanswered, the message goes back to the broker at once.
            Done::Requeue => drop(delivery),
        }
        None
    }

    /// Answers the caller, and finishes the message if that went well. What is returned is still to be done.
    fn reply(
        self: Arc<Self>,
        delivery: Delivery,
        topic: TopicName,
        reply: Reply,
    ) -> Option<BoxFuture<'static, ()>> {
        let delivery = match reply.encode() {
            Ok(body) => *delivery.publish_and_finish(&topic, body).err()?,
            Err(_) => delivery,
        };
        Some(Box::pin(async move {
            self.reply_confirmed(delivery, topic, reply).await
        }))
    }

    /// Answers the caller, and finishes the message when that is confirmed.
    async fn reply_confirmed(&self, delivery: Delivery, topic: TopicName, reply: Reply) {
        let (call, node) = (reply.call_id, Arc::clone(&delivery.node));
        match reply::send(&**self.session.transport(), &self.served.uri, topic, node, reply).await {
            Ok(()) => finish(delivery),
            Err(error) => {
                tracing::warn!(procedure = %self.served.uri, %call, %error, "could not answer a call: it will be run again");
                telemetry::unanswered(&self.served.uri, "reply_failed");
            }
        }
    }

    /// Reads a call; where its age decides, after a look at the broker's clock.
    pub(super) async fn look_at(&self, delivery: &Delivery) -> Accepted {
        match self.accept(delivery, None) {
            Accepted::Doubtful => {
                let ahead = Box::pin(self.session.ahead_of(&delivery.node)).await;
                self.accept(delivery, Some(ahead))
            }
            accepted => accepted,
        }
    }

    /// Reads a call. `ahead` is by how many nanoseconds this machine's clock is ahead of the broker's, if that is known.
    fn accept(&self, delivery: &Delivery, ahead: Option<i64>) -> Accepted {
        let received = Instant::now();
        let procedure = &self.served.uri;
        let mut invocation = match forward::read(&delivery.body) {
            Ok(invocation) => invocation,
            Err(error) => {
                self.served.meter.malformed.increment();
                telemetry::unanswered(procedure, "malformed");
                if let Some((topic, reply)) = reply::refusal(&error) {
                    tracing::warn!(%procedure, node = %delivery.node, call = %reply.call_id, error = &error as &dyn std::error::Error, "a call was not run, because its answer has nowhere to go: its session is told");
                    return Accepted::Refused(topic, Box::new(reply));
                }
                tracing::warn!(%procedure, node = %delivery.node, message = %delivery.id, %error, "dropped what is no invocation: does something else publish to the topic of the procedure?");
                return Accepted::Nothing;
            }
        };
        let age = age(delivery, ahead.unwrap_or_default());
        let forward = Forward::of(&mut invocation);
        // Where nobody waits, there is no wait to be cut short.
        let queue_time = self.served.queue_time.filter(|_| forward.is_none());
        if ahead.is_none() && is_doubtful(age, invocation.timeout, queue_time) {
            return Accepted::Doubtful;
        }
        let deadline = invocation
            .timeout
            .and_then(|timeout| received.checked_add(timeout.saturating_sub(age)));
        if deadline.is_some_and(|deadline| deadline <= received) {
            tracing::debug!(%procedure, call = %invocation.id, "dropped a call whose caller waits no more");
            self.served.meter.expired.increment();
            telemetry::unanswered(procedure, "expired");
            return Accepted::Nothing;
        }
        let responder = invocation.headers.get(RESPONDER);
        let outlet = self.outlet(&invocation, delivery);
        let address = ReplyAddress {
            responder: responder.map(|_| self.serving.instance.id),
            forward: forward.map(|forward| forward.until(deadline)),
            id: invocation.id,
            codec: invocation.payload.codec(),
            topic: invocation.reply_topic,
            takes_control: invocation.takes_control,
        };
        if queue_time.is_some_and(|longest| longest < age) {
            return Accepted::TooOld(address);
        }
        let limit = self
            .served
            .timeout
            .and_then(|timeout| received.checked_add(timeout));
        // The caller of a stream waits for as long as it is alive.
        let deadline = deadline.filter(|_| outlet.is_none());
        let limits = Limits { deadline, limit };
        let cancellation = Arc::<Cancellation>::default();
        let inherited = Inherited {
            deadline: limits.until(),
            cancellation: Arc::clone(&cancellation),
        };
        Accepted::Call(Call {
            received,
            address,
            limits,
            ends_on_return: EndOnDrop(cancellation),
            request: Request {
                context: Context::new(context::Shared {
                    session: self.session.passing_on(inherited.clone()),
                    procedure: procedure.clone(),
                    call_id: invocation.id,
                    caller_id: invocation.caller_id,
                    headers: invocation.headers,
                    attempt: delivery.attempts,
                    inherited,
                    outlet,
                }),
                payload: invocation.payload,
            },
        })
    }

    /// The way out for items, where the caller asks for a stream and gets one.
    fn outlet(&self, invocation: &Invocation, delivery: &Delivery) -> Option<Arc<Outlet>> {
        if !self.served.streaming {
            return None;
        }
        let asked = Asked::of(invocation)?;
        Some(Arc::new(Outlet::new(asked, &self.session, delivery)))
    }

    /// Has the session hear what callers of streams say; `false` when it cannot.
    async fn hear_caller(&self) -> bool {
        let heard = self.session.hear_callers().await;
        if let Err(error) = &heard {
            tracing::warn!(procedure = %self.served.uri, %error, "cannot hear the callers of streams");
        }
        heard.is_ok()
    }
}

fn reply_to(address: ReplyAddress, answer: Answer) -> Done {
    let ReplyAddress {
        id,
        topic,
        responder,
        forward,
        ..
    } = address;
    match (forward, topic) {
        (Some(forward), _) => Done::Forward(forward, answer),
        (None, Some(topic)) => {
            let mut reply = Reply::new(id, answer);
            reply.responder = responder;
            Done::Reply(topic, reply)
        }
        (None, None) => Done::Finish,
    }
}

pub(super) const TOO_LONG: &str = "the call has waited too long";

/// After which time a call comes back that found no room and that nobody waits for.
const LATER: Duration = Duration::from_secs(1);

fn finish(delivery: Delivery) {
    if let Err(error) = delivery.finish() {
        tracing::debug!(%error, "a call may be run again");
    }
}

/// How long ago the broker took the message in, by this machine's clock, which is `ahead` of the broker's by so many
/// nanoseconds. What comes out negative counts as no time.
pub(super) fn age(delivery: &Delivery, ahead: i64) -> Duration {
    let age = unix_nanos()
        .saturating_sub(ahead)
        .saturating_sub(delivery.timestamp);
    Duration::from_nanos(u64::try_from(age).unwrap_or_default())
}

/// Whether the age would cost a call so much that it must not be a mistake of the clocks.
fn is_doubtful(age: Duration, timeout: Option<Duration>, queue_time: Option<Duration>) -> bool {
    timeout.is_some_and(|timeout| timeout / 4 < age) || queue_time.is_some_and(|longest| longest < age)
}
