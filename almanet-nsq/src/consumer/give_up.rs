//! What becomes of messages that were delivered too often.

use std::{fmt, pin::Pin, sync::Arc};

use almanet_nsq_proto::{ChannelName, TopicName};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::error;

use super::delivery::Delivery;

type GivingUp = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The user's part in it.
#[derive(Clone)]
pub(super) struct Hook(Arc<dyn Fn(Delivery) -> GivingUp + Send + Sync>);

impl Hook {
    pub(super) fn new<F>(hook: impl Fn(Delivery) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(move |delivery| Box::pin(hook(delivery))))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// When a message is given up, and how.
#[derive(Clone, Debug, Default)]
pub(super) struct GiveUp {
    pub(super) max_attempts: Option<u16>,
    pub(super) hook: Option<Hook>,
}

/// Gives messages up for one consumer.
#[derive(Clone, Debug)]
pub(super) struct LastResort {
    pub(super) topic: TopicName,
    pub(super) channel: ChannelName,
    pub(super) give_up: GiveUp,
    pub(super) tasks: TaskTracker,
    /// When hooks that still run shall end.
    pub(super) stop: CancellationToken,
}

impl LastResort {
    /// Whether a message with so many attempts is not to be handed out.
    pub(super) fn is_due(&self, attempts: u16) -> bool {
        self.give_up.max_attempts.is_some_and(|max| attempts > max)
    }

    pub(super) fn give_up(&self, delivery: Delivery) {
        let Some(hook) = &self.give_up.hook else {
            error!(
                topic = %self.topic, channel = %self.channel, node = %delivery.node(), id = %delivery.id(),
                attempts = delivery.attempts(), size = delivery.size(),
                "finishing a message that was delivered too often: it is lost, as no hook keeps it"
            );
            // On a connection that is gone it is delivered again, and comes here again.
            let _ = delivery.finish();
            return;
        };
        let hook = hook.clone();
        // All of the hook runs in the task: one that panics must not take the connection with it.
        let giving_up = async move { hook.0(delivery).await };
        let stop = self.stop.clone();
        self.tasks.spawn(stop.run_until_cancelled_owned(giving_up));
    }
}
