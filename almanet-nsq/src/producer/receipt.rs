//! A publisher's hold on what it queued.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::outbox::{Failed, Failure, Outbox};

/// Where a publish is, and where its answer comes.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) ticket: u64,
    pub(super) answer: oneshot::Receiver<Result<(), Failed>>,
}

/// Waits for what becomes of a publish. Dropped before that, it takes the publish back if it still can.
#[derive(Debug)]
pub(super) struct Receipt<'a> {
    outbox: &'a Outbox,
    queued: Queued,
    is_settled: bool,
}

impl<'a> Receipt<'a> {
    pub(super) fn new(outbox: &'a Outbox, queued: Queued) -> Self {
        Self {
            outbox,
            queued,
            is_settled: false,
        }
    }

    /// Waits for the answer.
    pub(super) async fn settled(&mut self) -> Result<(), Failed> {
        let outcome = (&mut self.queued.answer).await;
        self.is_settled = true;
        outcome.unwrap_or(Err(Failure::Closed.into()))
    }

    /// Waits no longer: the publish was not sent, or it is unconfirmed for `reason`.
    pub(super) fn give_up(mut self, reason: Arc<str>) -> Result<(), Failed> {
        self.is_settled = true;
        // From here on no answer comes, and the publish is not sent if it comes back to the queue.
        self.queued.answer.close();
        match self.queued.answer.try_recv() {
            Ok(outcome) => outcome,
            Err(_) if self.outbox.withdraw(self.queued.ticket) => Err(Failure::NotSent.into()),
            Err(_) => Err(Failure::Unconfirmed(reason).into()),
        }
    }
}

impl Drop for Receipt<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.queued.answer.close();
            self.outbox.withdraw(self.queued.ticket);
        }
    }
}
