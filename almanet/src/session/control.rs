//! What a session that serves tells the callers of calls that take a while.

use std::sync::Arc;

use almanet_nsq::TopicName;
use tokio_util::sync::CancellationToken;

use super::{inbox::TOPIC_PREFIX, outbox::Outgoing, running::RunningCall, shared::Session};
use crate::{id::Id, transport::SubscribeError, wire::StreamItems};

impl Session {
    /// Enters a call that this session runs; `cancelled` fires when `caller` gives it up. The caller learns where it
    /// runs by [`announce`](Self::announce).
    pub(crate) fn enter_running(&self, call_id: Id, caller: Id, cancelled: CancellationToken) -> RunningCall {
        self.shared.running.enter(call_id, caller, cancelled)
    }

    /// Has the session listen to what the callers of its streams say.
    pub(crate) async fn hear_callers(&self) -> Result<(), SubscribeError> {
        self.shared.inbox().await.map(drop)
    }

    /// Tells the caller that listens on `topic` that its stream is alive, once this session
    /// [hears](Self::hear_callers) it. Does not wait for anything.
    pub(crate) fn say_alive(&self, alive: StreamItems, topic: &TopicName, node: &Arc<str>) {
        if let Some(inbox) = self.shared.inbox.get() {
            inbox.outbox.send(Outgoing::alive(alive, topic.clone(), node));
        }
    }

    /// Tells the caller that listens on `topic` that this session runs its call. Does not wait for anything.
    ///
    /// A topic that is no session's is told nothing: what reads it expects replies.
    pub(crate) fn announce(&self, call_id: Id, topic: &TopicName, node: &Arc<str>) {
        if !topic.as_str().starts_with(TOPIC_PREFIX) {
            return;
        }
        let note = Outgoing::running(call_id, self.id(), topic.clone(), node);
        if let Some(inbox) = self.shared.inbox.get() {
            return inbox.outbox.send(note);
        }
        // The first call that takes a while has the session listen, so that its caller can answer.
        let session = self.clone();
        self.shared.tasks.spawn(async move {
            let listening = async {
                match session.shared.inbox().await {
                    Ok(inbox) => inbox.outbox.send(note),
                    Err(error) => tracing::debug!(%error, "a caller cannot cancel its call"),
                }
            };
            tokio::select! {
                () = listening => {}
                () = session.shared.left.cancelled() => {}
            }
        });
    }
}
