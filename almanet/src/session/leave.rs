//! The ordered end of a session.

use tokio::time::timeout;

use super::shared::Session;
use crate::error::LeaveError;

impl Session {
    /// Ends the session in order: its services drain, calls that still wait end with
    /// [`CallError::SessionLeft`](crate::CallError::SessionLeft), what was published is confirmed, and the connections
    /// are closed.
    ///
    /// All clones of the session have left then. Leaving twice is not an error.
    ///
    /// # Errors
    ///
    /// [`LeaveError`] when services had to be cut off; the session has been left all the same.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, services go on draining, and leaving again goes on from there.
    pub async fn leave(&self) -> Result<(), LeaveError> {
        let shared = &self.shared;
        shared.leaving.cancel();
        shared.services.close();
        let waited = shared.leave_timeout;
        let drained = timeout(waited, shared.services.wait()).await;

        shared.pending.close();
        shared.gatherings.close();
        shared.streams.close(shared.id, shared.inbox.get());
        shared.left.cancel();
        shared.tasks.close();
        shared.tasks.wait().await;
        shared.transport.close().await;
        tracing::debug!(session = %shared.id, "session left");
        drained.map_err(|_| LeaveError::Unfinished { waited })
    }
}
