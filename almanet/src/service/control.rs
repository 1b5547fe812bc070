//! Answers those who ask what the services of a session are and how they do.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use almanet_nsq::{ChannelName, TopicName};
use tokio::{sync::OnceCell, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{dispatch::age, reply, serving::Serving};
use crate::{
    error::{INVALID_PAYLOAD, INVALID_RETURN, RemoteError},
    introspect::{CONTROL_TOPIC, Question},
    session::Session,
    transport::{Delivery, SubscribeError, SubscribeOptions, Subscription, Transport},
    wire::{Invocation, Reply},
};

/// A question that nobody was there to read waits in its topic. Whoever asked has given up by now.
const MOST_AGE: Duration = Duration::from_secs(60);

/// What answers are said to come from in the log, as those of a procedure are.
const NAME: &str = "_control_";

/// People and tools ask now and then.
const MAX_IN_FLIGHT: usize = 16;

/// The services of one session that can be asked.
#[derive(Debug, Default)]
pub(crate) struct Control {
    services: Services,
    listening: OnceCell<()>,
}

type Services = Arc<Mutex<Vec<Weak<Serving>>>>;

impl Control {
    /// From now on `serving` answers, for as long as it is there. The first one subscribes, for all of the session.
    pub(super) async fn join(&self, session: &Session, serving: &Arc<Serving>) -> Result<(), SubscribeError> {
        let listening = || listen(session, Arc::clone(&self.services));
        self.listening.get_or_try_init(listening).await?;
        let mut services = lock(&self.services);
        services.retain(|service| service.strong_count() > 0);
        services.push(Arc::downgrade(serving));
        Ok(())
    }
}

fn lock(services: &Services) -> MutexGuard<'_, Vec<Weak<Serving>>> {
    // Nothing panics while it holds the lock, so the list is whole even if the lock says poisoned.
    services.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Subscribes the session's own channel, which the broker removes with the session.
async fn listen(session: &Session, services: Services) -> Result<(), SubscribeError> {
    let topic = TopicName::new(CONTROL_TOPIC)?;
    let channel = ChannelName::new(format!("{}#ephemeral", session.id()))?;
    let options = SubscribeOptions {
        max_in_flight: MAX_IN_FLIGHT,
        ..SubscribeOptions::default()
    };
    let subscription = session.transport().subscribe(&topic, &channel, options).await?;
    // Not the session itself: its last clone ends it.
    let (transport, left) = (Arc::clone(session.transport()), session.left().clone());
    session
        .tasks()
        .spawn(answer_all(subscription, transport, services, left));
    Ok(())
}

/// Answers what comes, each on its own: one whose node is slow or gone keeps nobody else waiting. There are as many under
/// way as the subscription lets be in flight.
async fn answer_all(
    mut subscription: Subscription,
    transport: Arc<dyn Transport>,
    services: Services,
    left: CancellationToken,
) {
    let mut answering = JoinSet::new();
    loop {
        let delivery = tokio::select! {
            biased;
            () = left.cancelled() => break,
            Some(_) = answering.join_next() => continue,
            delivery = subscription.recv() => delivery,
        };
        let Some(delivery) = delivery else { return };
        let (transport, services) = (Arc::clone(&transport), Arc::clone(&services));
        answering.spawn(async move {
            answer(&delivery, &*transport, &services).await;
            // When the connection is gone the channel is too, and with it the question.
            let _ = delivery.finish();
        });
    }
    answering.shutdown().await;
    subscription.close().await;
}

async fn answer(delivery: &Delivery, transport: &dyn Transport, services: &Services) {
    let invocation = match Invocation::decode(&delivery.body) {
        Ok(invocation) => invocation,
        Err(error) => {
            tracing::debug!(node = %delivery.node, message = %delivery.id, %error, "dropped what is no question");
            if let Some((topic, reply)) = reply::refusal(&error) {
                let _ = reply::send(transport, NAME, topic, Arc::clone(&delivery.node), reply).await;
            }
            return;
        }
    };
    let Some(topic) = invocation.reply_topic else {
        return;
    };
    if age(delivery, 0) > MOST_AGE {
        return;
    }
    let codec = invocation.payload.codec();
    let outcomes = match invocation.payload.decode::<Question>() {
        Ok(question) => {
            let services: Vec<Arc<Serving>> = lock(services).iter().filter_map(Weak::upgrade).collect();
            let answers = services
                .iter()
                .flat_map(|serving| serving.answers(&question, codec));
            answers
                .map(|answer| {
                    answer.map_err(|error| RemoteError::sentence(codec, INVALID_RETURN, &error.to_string()))
                })
                .collect()
        }
        Err(error) => vec![Err(RemoteError::sentence(
            codec,
            INVALID_PAYLOAD,
            &error.to_string(),
        ))],
    };
    for outcome in outcomes {
        let reply = Reply::new(invocation.id, outcome);
        let node = Arc::clone(&delivery.node);
        if let Err(error) = reply::send(transport, NAME, topic.clone(), node, reply).await {
            tracing::debug!(%error, "could not answer a question");
            return;
        }
    }
}
