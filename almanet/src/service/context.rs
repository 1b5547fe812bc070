//! What a procedure can learn about the call that it serves.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::stream::Outlet;
use crate::{
    id::Id,
    session::{Inherited, Session},
    uri::Uri,
    wire::{Headers, IDEMPOTENCY_KEY},
};

/// The circumstances of one call, given to a procedure that asks for them. Cheap to clone.
///
/// ```
/// use almanet::{Context, procedure};
///
/// /// Says who calls.
/// #[procedure(uri = "net.example.who")]
/// async fn who(context: Context) -> String {
///     format!("session {}, attempt {}", context.caller_id(), context.attempt())
/// }
/// ```
#[derive(Clone)]
pub struct Context {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) session: Session,
    pub(super) procedure: Uri,
    pub(super) call_id: Id,
    pub(super) caller_id: Id,
    pub(super) headers: Headers,
    pub(super) attempt: u16,
    pub(super) inherited: Inherited,
    /// The way out for items, when the caller has asked a procedure for a stream that has one.
    pub(super) outlet: Option<Arc<Outlet>>,
}

impl Context {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The session that serves the procedure, for calls and events of its own.
    ///
    /// Calls that are made by it inherit the [deadline](Self::deadline) of this one and end with it, also those of tasks
    /// that the procedure spawns. So do the calls that the procedure's own future makes by any other session. A call
    /// that shall go on is [detached](crate::Call::detached).
    pub fn session(&self) -> &Session {
        &self.shared.session
    }

    /// The procedure that was called.
    pub fn procedure(&self) -> &Uri {
        &self.shared.procedure
    }

    /// The name of this call. It stays the same when the message is delivered again.
    pub fn call_id(&self) -> Id {
        self.shared.call_id
    }

    /// The session that calls.
    pub fn caller_id(&self) -> Id {
        self.shared.caller_id
    }

    /// The headers that the caller sent.
    pub fn headers(&self) -> &Headers {
        &self.shared.headers
    }

    /// When this run ends at the latest: when the caller stops waiting, or at the procedure's own limit if that is
    /// earlier. `None` when neither says.
    pub fn deadline(&self) -> Option<Instant> {
        self.shared.inherited.deadline
    }

    /// How long this run may still take; `None` when neither the caller nor the procedure says.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline()
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// How often this call has been delivered to a service, this time included. Above 1, an earlier attempt may have
    /// done some of the work.
    pub fn attempt(&self) -> u16 {
        self.shared.attempt
    }

    /// What names the work that is to be done once, if the caller says so
    /// ([`Call::idempotency_key`](crate::Call::idempotency_key)).
    pub fn idempotency_key(&self) -> Option<&str> {
        self.headers().get(IDEMPOTENCY_KEY)
    }

    /// Fires when the run has ended, in whichever way: it has answered, its deadline has passed, its caller gave it up,
    /// or the service is cut off. The procedure's future is dropped then, so only what it has spawned needs to look.
    pub fn cancellation(&self) -> &CancellationToken {
        self.shared.inherited.cancelled()
    }

    /// The way out for items.
    pub(super) fn outlet(&self) -> Option<&Arc<Outlet>> {
        self.shared.outlet.as_ref()
    }

    /// What the calls inherit that are made for this one.
    pub(super) fn inherited(&self) -> &Inherited {
        &self.shared.inherited
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("procedure", &self.shared.procedure)
            .field("call_id", &self.shared.call_id)
            .field("caller_id", &self.shared.caller_id)
            .field("headers", &self.shared.headers)
            .field("attempt", &self.shared.attempt)
            .finish_non_exhaustive()
    }
}
