//! A publisher's hold on what it queued.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    outbox::Outbox,
    publish::{Failure, Outcome},
};

/// Waits for what becomes of a publish. Dropped before that, it takes the publish back if it still can.
#[derive(Debug)]
pub(super) struct Receipt<'a> {
    outbox: &'a Outbox,
    ticket: u64,
    answer: oneshot::Receiver<Outcome>,
    is_settled: bool,
}

impl<'a> Receipt<'a> {
    pub(super) fn new(outbox: &'a Outbox, ticket: u64, answer: oneshot::Receiver<Outcome>) -> Self {
        Self {
            outbox,
            ticket,
            answer,
            is_settled: false,
        }
    }

    /// Waits for the answer.
    pub(super) async fn settled(&mut self) -> Outcome {
        let outcome = (&mut self.answer).await;
        self.is_settled = true;
        outcome.unwrap_or(Err(Failure::Closed.alone()))
    }

    /// Waits no longer: the publish was not sent, or it is unconfirmed for `reason`.
    pub(super) fn give_up(mut self, reason: Arc<str>) -> Outcome {
        self.is_settled = true;
        // From here on no answer comes, and the publish is not sent if it comes back to the queue.
        self.answer.close();
        match self.answer.try_recv() {
            Ok(outcome) => outcome,
            Err(_) if self.outbox.withdraw(self.ticket) => Err(Failure::NotSent.alone()),
            Err(_) => Err(Failure::Unconfirmed(reason).alone()),
        }
    }
}

impl Drop for Receipt<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.answer.close();
            self.outbox.withdraw(self.ticket);
        }
    }
}
