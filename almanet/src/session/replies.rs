//! The session's reply topic, where the answers to its calls arrive.

use std::sync::Arc;

use almanet_nsq::{ChannelName, InvalidName, TopicName};
use tokio_util::sync::CancellationToken;

use super::{gather::Gatherings, pending::PendingCalls, shared::Shared};
use crate::{
    id::Id,
    transport::{Delivery, SubscribeError, SubscribeOptions, Subscription},
    wire::Reply,
};

/// Replies are small and answered at once, so many may be on their way.
const MAX_IN_FLIGHT: usize = 2500;

/// Proof that the session listens on its reply topic.
#[derive(Debug)]
pub(super) struct Replies {
    pub(super) topic: TopicName,
}

impl Replies {
    /// Subscribes to the reply topic of `session` and hands what arrives to the pending calls.
    pub(super) async fn listen(session: &Shared) -> Result<Self, SubscribeError> {
        let (topic, channel) = names(session.id)?;
        let options = SubscribeOptions {
            max_in_flight: MAX_IN_FLIGHT,
            ..SubscribeOptions::default()
        };
        let subscription = session.transport.subscribe(&topic, &channel, options).await?;
        let (pending, gatherings) = (Arc::clone(&session.pending), Arc::clone(&session.gatherings));
        let left = session.left.clone();
        session
            .tasks
            .spawn(receive(subscription, pending, gatherings, left));
        Ok(Self { topic })
    }
}

fn names(session: Id) -> Result<(TopicName, ChannelName), InvalidName> {
    let topic = TopicName::new(format!("_rpc_._reply_.{session}#ephemeral"))?;
    Ok((topic, ChannelName::new("almanet#ephemeral")?))
}

async fn receive(
    mut subscription: Subscription,
    pending: Arc<PendingCalls>,
    gatherings: Arc<Gatherings>,
    left: CancellationToken,
) {
    loop {
        let delivery = tokio::select! {
            biased;
            delivery = subscription.recv() => delivery,
            () = left.cancelled() => break,
        };
        let Some(delivery) = delivery else { return };
        hand_over(delivery, &pending, &gatherings);
    }
    subscription.close().await;
}

fn hand_over(delivery: Delivery, pending: &PendingCalls, gatherings: &Gatherings) {
    match Reply::decode(&delivery.body) {
        Ok(reply) => {
            let call = reply.call_id;
            if let Some(reply) = gatherings.take(reply)
                && !pending.complete(reply)
            {
                tracing::debug!(%call, "a reply came that no call waits for: it is late, or a duplicate");
            }
        }
        Err(error) => {
            tracing::warn!(node = %delivery.node, message = %delivery.id, %error, "dropped what is no reply");
        }
    }
    // When the connection is gone the reply comes again, and then no call waits for it.
    let _ = delivery.finish();
}
