//! What calls inherit from the call that they are made for.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cancellation::Cancellation;

tokio::task_local! {
    static CURRENT: Inherited;
}

/// When a call ends at the latest, and what ends it before that.
#[derive(Debug, Clone)]
pub(crate) struct Inherited {
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancellation: Arc<Cancellation>,
}

impl Inherited {
    /// What the handler passes on in whose task this is asked.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Fires when the call that it is inherited from is over.
    pub(crate) fn cancelled(&self) -> &CancellationToken {
        self.cancellation.token()
    }

    /// Runs `handler`: the calls that it makes inherit this, by whichever session they are made.
    pub(crate) fn pass_on<F: Future>(self, handler: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, handler)
    }
}
