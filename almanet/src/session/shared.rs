//! The session itself and what its clones share.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use almanet_nsq::TopicName;
use serde::Serialize;
use tokio::sync::OnceCell;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{builder::SessionBuilder, call::Call, pending::PendingCalls, replies::Replies};
use crate::{error::ConnectError, id::Id, transport::Transport, wire::Codec};

/// A connection to the brokers by which a program calls procedures, serves them, produces and consumes.
///
/// Cheap to clone; all clones are one session. [`leave`](Session::leave) ends it in order; when the last clone is
/// dropped its connections are closed.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let session = almanet::Session::connect("127.0.0.1:4150").await?;
/// let reply: String = session.call("net.example.greet", &"Aidar").await?;
/// println!("{reply}");
/// session.leave().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) id: Id,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) codec: Codec,
    pub(super) call_timeout: Duration,
    pub(super) leave_timeout: Duration,
    pub(super) max_deferral: Duration,
    pub(super) pending: Arc<PendingCalls>,
    /// The subscription to the session's reply topic, made by the first call.
    pub(super) replies: OnceCell<Replies>,
    /// Topics of dead letters whose channel this session has seen to.
    dead_letter_topics: Mutex<HashSet<TopicName>>,
    /// The services of the session.
    pub(super) services: TaskTracker,
    /// Cancelled when the session is left: services drain.
    pub(super) leaving: CancellationToken,
    /// The tasks of the session itself.
    pub(super) tasks: TaskTracker,
    /// Cancelled when the services have ended, or with the last clone of the session.
    pub(super) left: CancellationToken,
    _ends_with_the_last_clone: DropGuard,
}

impl Shared {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        codec: Codec,
        call_timeout: Duration,
        leave_timeout: Duration,
        max_deferral: Duration,
    ) -> Self {
        let left = CancellationToken::new();
        Self {
            id: Id::random(),
            transport,
            codec,
            call_timeout,
            leave_timeout,
            max_deferral,
            pending: Arc::default(),
            replies: OnceCell::new(),
            dead_letter_topics: Mutex::default(),
            services: TaskTracker::new(),
            leaving: CancellationToken::new(),
            tasks: TaskTracker::new(),
            _ends_with_the_last_clone: left.clone().drop_guard(),
            left,
        }
    }
}

impl Session {
    /// Connects to the brokers at `addresses`: one `host:port`, or several separated by commas.
    ///
    /// At least one broker must be reachable; the others are tried again in the background. Settings beyond the
    /// addresses are in [`Session::builder`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`] names each address and what happened there, within seconds.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it closes what it had opened.
    pub async fn connect(addresses: impl AsRef<str>) -> Result<Self, ConnectError> {
        Self::builder().addresses(addresses).connect().await
    }

    /// All settings of a session, to be followed by [`SessionBuilder::connect`].
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }

    /// The name of this session, which callees see as the caller's id.
    pub fn id(&self) -> Id {
        self.shared.id
    }

    /// The codec in which this session writes payloads.
    pub fn codec(&self) -> Codec {
        self.shared.codec
    }

    /// Calls the procedure `uri` with `payload`. To be awaited, after settings if there are any.
    ///
    /// The type of the answer is the caller's to say; errors of the procedure come as
    /// [`CallError::Remote`](crate::CallError::Remote) with a [`RemoteError`](crate::RemoteError). A procedure that
    /// was made by `#[procedure]` has a typed `call` of its own, which knows both types.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(session: almanet::Session) -> Result<(), almanet::CallError> {
    /// let sum: i64 = session.call("net.example.add", &(2, 3)).timeout(Duration::from_secs(1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`CallError`](crate::CallError). A call to a procedure that nobody serves ends with
    /// [`CallError::Timeout`](crate::CallError::Timeout).
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped is forgotten here; the procedure may run all the same.
    pub fn call<T>(&self, uri: impl AsRef<str>, payload: &(impl Serialize + ?Sized)) -> Call<T> {
        Call::new(self, uri, payload)
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.shared.transport
    }

    /// The longest time for which the brokers hold a message back; longer ones are made of several.
    pub(crate) fn max_deferral(&self) -> Duration {
        self.shared.max_deferral
    }

    /// Topics of dead letters whose channel this session has seen to.
    pub(crate) fn dead_letter_topics(&self) -> MutexGuard<'_, HashSet<TopicName>> {
        let topics = self.shared.dead_letter_topics.lock();
        topics.unwrap_or_else(PoisonError::into_inner)
    }

    /// Where services run, so that leaving can wait for them.
    pub(crate) fn services(&self) -> &TaskTracker {
        &self.shared.services
    }

    /// Cancelled when services shall drain.
    pub(crate) fn leaving(&self) -> &CancellationToken {
        &self.shared.leaving
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.shared.id)
            .field("transport", &self.shared.transport)
            .finish_non_exhaustive()
    }
}
