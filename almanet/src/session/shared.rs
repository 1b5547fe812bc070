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

use super::{
    builder::SessionBuilder,
    call::Call,
    circuit::{Admitted, CircuitState, Circuits},
    clocks::Clocks,
    gather::Gatherings,
    inbox::Inbox,
    inherit::Inherited,
    layered::Caller,
    multicall::Multicall,
    one_way::OneWayCall,
    pending::PendingCalls,
    retry::Budget,
    running::RunningCalls,
    stream::Streams,
};
use crate::{
    error::ConnectError,
    id::Id,
    service::Control,
    transport::{PostFailed, SubscribeError, Transport},
    uri::Uri,
    wire::Codec,
};

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
    /// What the calls that are made by this clone inherit; only the sessions that handlers are given have it.
    pub(super) inherited: Option<Inherited>,
    /// What makes the calls of this clone, when there are layers around them.
    pub(super) caller: Option<Arc<Caller>>,
}

pub(super) struct Shared {
    pub(super) id: Id,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) codec: Codec,
    pub(super) call_timeout: Duration,
    pub(super) leave_timeout: Duration,
    pub(super) max_deferral: Duration,
    /// Whether events carry the trace that they are published for.
    pub(super) event_traces: bool,
    /// The largest payload of calls and of their results; `None` for as much as a message takes.
    pub(super) max_payload: Option<usize>,
    pub(super) pending: Arc<PendingCalls>,
    /// The same, as those who are told when a call could not be sent.
    pub(super) told: Arc<dyn PostFailed>,
    pub(super) running: Arc<RunningCalls>,
    pub(super) clocks: Arc<Clocks>,
    pub(super) retry_budget: Budget,
    pub(super) circuits: Option<Arc<Circuits>>,
    /// The subscription to the session's reply topic, made by the first call.
    pub(super) inbox: OnceCell<Inbox>,
    /// What was sent to many, and has its answers collected.
    pub(super) gatherings: Arc<Gatherings>,
    /// The streams that are read and sent.
    pub(super) streams: Arc<Streams>,
    /// Answers those who ask what the services are.
    pub(super) control: Control,
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
        retry_budget: Budget,
        circuits: Option<Arc<Circuits>>,
        max_deferral: Duration,
    ) -> Self {
        let id = Id::random();
        let left = CancellationToken::new();
        let pending = Arc::new(PendingCalls::new(id));
        Self {
            id,
            transport,
            codec,
            call_timeout,
            leave_timeout,
            max_deferral,
            event_traces: false,
            max_payload: None,
            told: Arc::clone(&pending) as Arc<dyn PostFailed>,
            pending,
            running: Arc::default(),
            clocks: Arc::default(),
            retry_budget,
            circuits,
            inbox: OnceCell::new(),
            gatherings: Arc::default(),
            streams: Arc::default(),
            control: Control::default(),
            dead_letter_topics: Mutex::default(),
            services: TaskTracker::new(),
            leaving: CancellationToken::new(),
            tasks: TaskTracker::new(),
            _ends_with_the_last_clone: left.clone().drop_guard(),
            left,
        }
    }

    /// Lets a call out, if its circuit does; an error says for how long it does not.
    pub(super) fn admit(&self, procedure: &Uri) -> Result<Option<Box<Admitted>>, Duration> {
        let Some(circuits) = &self.circuits else {
            return Ok(None);
        };
        circuits.admit(procedure).map(Box::new).map(Some)
    }

    /// The session's inbox; whoever asks first has it made.
    pub(super) async fn inbox(&self) -> Result<&Inbox, SubscribeError> {
        self.inbox.get_or_try_init(|| Inbox::listen(self)).await
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
    /// A call that is dropped is given up: its handler is dropped too if it runs for longer than a tenth of a second,
    /// as soon as it can be told. A call that ends by itself needs no such message: its deadline travels with it.
    pub fn call<T>(&self, uri: impl AsRef<str>, payload: &(impl Serialize + ?Sized)) -> Call<T> {
        Call::new(self, uri, payload)
    }

    /// Calls the procedure `uri` with `payload`, and waits for no answer: returns once a broker has the call. To be awaited,
    /// after settings if there are any.
    ///
    /// Whether and when it runs, the caller does not learn; see [`OneWayCall`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(session: almanet::Session) -> Result<(), almanet::CallError> {
    /// session.send("net.example.remind", &"Aidar").after(Duration::from_secs(600)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`OneWayCall`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the call may or may not be made.
    pub fn send(&self, uri: impl AsRef<str>, payload: &(impl Serialize + ?Sized)) -> OneWayCall {
        self.call::<()>(uri, payload).send()
    }

    /// Calls the procedure `uri` in all its instances, and collects their answers. To be awaited, after settings if there
    /// are any; see [`Multicall`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(session: almanet::Session) -> Result<(), almanet::CallError> {
    /// let call = session.multicall::<u64>("net.example.queue_length", &());
    /// for answer in call.timeout(Duration::from_secs(1)).collect().await? {
    ///     println!("{:?}: {:?}", answer.responder, answer.outcome);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`Multicall`].
    ///
    /// # Cancel safety
    ///
    /// A multicall that is dropped is given up, as a call is.
    pub fn multicall<T>(&self, uri: impl AsRef<str>, payload: &(impl Serialize + ?Sized)) -> Multicall<T> {
        self.call::<T>(uri, payload).multicall()
    }

    /// The state of the circuit of `procedure`. It is closed at all times when the session has no
    /// [circuit breaker](SessionBuilder::circuit_breaker).
    pub fn circuit(&self, procedure: &Uri) -> CircuitState {
        match &self.shared.circuits {
            Some(circuits) => circuits.state(procedure),
            None => CircuitState::Closed,
        }
    }

    /// This session for a handler, whose calls inherit `inherited`.
    pub(crate) fn passing_on(&self, inherited: Inherited) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            inherited: Some(inherited),
            caller: self.caller.clone(),
        }
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.shared.transport
    }

    pub(crate) fn control(&self) -> &Control {
        &self.shared.control
    }

    /// The longest time for which the brokers hold a message back; longer ones are made of several.
    pub(crate) fn max_deferral(&self) -> Duration {
        self.shared.max_deferral
    }

    /// Whether events carry the trace that they are published for.
    pub(crate) fn event_traces(&self) -> bool {
        self.shared.event_traces
    }

    /// The largest payload of calls and of their results; `None` for as much as a message takes.
    pub(crate) fn max_payload(&self) -> Option<usize> {
        self.shared.max_payload
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

    /// Where tasks run that end when the session has been left.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.shared.tasks
    }

    /// Cancelled when the session has been left.
    pub(crate) fn left(&self) -> &CancellationToken {
        &self.shared.left
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
