//! The session's reply topic, where the answers to its calls arrive, and what is said about calls that run.

use std::sync::Arc;

use almanet_nsq::{ChannelName, InvalidName, TopicName};
use tokio_util::sync::CancellationToken;

use super::{
    clocks::Clocks,
    gather::Gatherings,
    outbox::{Outbox, Outgoing},
    pending::PendingCalls,
    running::RunningCalls,
    shared::Shared,
    stream::Streams,
};
use crate::{
    id::Id,
    transport::{Arrival, Delivery, SubscribeError, SubscribeOptions, Subscription},
    wire::{Control, ControlKind, Reply, StreamMessage},
};

/// Replies are small and answered at once, so many may be on their way.
const MAX_IN_FLIGHT: usize = 2500;

/// Proof that the session listens on its reply topic.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) topic: TopicName,
    pub(super) outbox: Outbox,
}

impl Inbox {
    /// Subscribes to the reply topic of `session` and hands what arrives to those whom it concerns.
    pub(super) async fn listen(session: &Shared) -> Result<Self, SubscribeError> {
        let topic = topic(session.id)?;
        let channel = ChannelName::new("almanet#ephemeral")?;
        let options = SubscribeOptions {
            max_in_flight: MAX_IN_FLIGHT,
            expected: Some(session.pending.expected()),
            ..SubscribeOptions::default()
        };
        let subscription = session.transport.subscribe(&topic, &channel, options).await?;
        let outbox = Outbox::start(session);
        session.pending.send_cancels_by(outbox.clone());
        let receiver = Receiver {
            session_id: session.id,
            pending: Arc::clone(&session.pending),
            gatherings: Arc::clone(&session.gatherings),
            streams: Arc::clone(&session.streams),
            running: Arc::clone(&session.running),
            clocks: Arc::clone(&session.clocks),
            outbox: outbox.clone(),
        };
        session
            .tasks
            .spawn(receiver.receive(subscription, session.left.clone()));
        Ok(Self { topic, outbox })
    }
}

/// The reply topic of a session.
pub(crate) fn topic(session: Id) -> Result<TopicName, InvalidName> {
    TopicName::new(format!("{TOPIC_PREFIX}{session}#ephemeral"))
}

/// What the reply topics of sessions begin with.
pub(crate) const TOPIC_PREFIX: &str = "_rpc_._reply_.";

/// Whom the messages on a reply topic concern.
struct Receiver {
    session_id: Id,
    pending: Arc<PendingCalls>,
    gatherings: Arc<Gatherings>,
    streams: Arc<Streams>,
    running: Arc<RunningCalls>,
    clocks: Arc<Clocks>,
    outbox: Outbox,
}

impl Receiver {
    async fn receive(self, mut subscription: Subscription, left: CancellationToken) {
        loop {
            let arrival = tokio::select! {
                biased;
                arrival = subscription.arrival() => arrival,
                () = left.cancelled() => break,
            };
            match arrival {
                Some(Arrival::Message(delivery)) => self.hand_over(delivery),
                Some(Arrival::NodeLost(node)) => {
                    self.pending.node_lost(&node);
                    self.streams.node_lost(&node);
                }
                None => return,
            }
        }
        subscription.close().await;
    }

    fn hand_over(&self, delivery: Delivery) {
        let understood = if !Control::sniff(&delivery.body) {
            Reply::decode(&delivery.body).map(|reply| self.complete(reply))
        } else if let Some(message) = StreamMessage::decode(&delivery.body) {
            message.map(|message| {
                self.streams
                    .heed(message, self.session_id, &delivery.node, &self.outbox);
            })
        } else {
            Control::decode(&delivery.body).map(|control| match control {
                Some(control) => self.heed(control, &delivery),
                None => {
                    tracing::debug!(node = %delivery.node, "passed over a control message of a later version")
                }
            })
        };
        if let Err(error) = understood {
            tracing::warn!(node = %delivery.node, message = %delivery.id, %error, "dropped what is no reply: is the callee of another version?");
        }
        // When the connection is gone the reply comes again, and then no call waits for it.
        let _ = delivery.finish();
    }

    fn complete(&self, reply: Reply) {
        let call = reply.call_id;
        if let Some(reply) = self.gatherings.take(reply)
            && let Some(reply) = self.streams.take(reply)
            && !self.pending.complete(reply)
        {
            tracing::debug!(%call, "a reply came that no call waits for: it is late, or a duplicate");
        }
    }

    fn heed(&self, control: Control, delivery: &Delivery) {
        let Control {
            kind,
            call_id,
            session_id: sender,
        } = control;
        match kind {
            ControlKind::Running => {
                if !self.pending.runs_at(call_id, sender, &delivery.node)
                    && !self.gatherings.runs_at(call_id, sender, &delivery.node)
                {
                    // The caller has dropped the call, or gave up before its deadline.
                    self.outbox
                        .send(Outgoing::cancel(call_id, self.session_id, sender, &delivery.node));
                }
            }
            ControlKind::Cancel => self.running.cancel(call_id, sender),
            ControlKind::Clock => self.clocks.arrived(call_id, &delivery.node, delivery.timestamp),
        }
    }
}
