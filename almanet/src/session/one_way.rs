//! Calls that want no answer here: sent, perhaps after a while, and answered elsewhere if at all.

use std::{fmt, future::IntoFuture, pin::Pin, time::Duration};

use tokio::time::Instant;

use super::{
    attempt::Failed,
    call::Call,
    layered::{Limits, OutgoingCall, Way, pass},
};
use crate::{
    error::{CallError, RemoteError},
    id::Id,
    transport::Publication,
    uri::{InvalidUri, Uri},
    wire::{ERRORS_TO, IDEMPOTENCY_KEY, Invocation},
};

/// A call that is about to be made without waiting for an answer: await it, after settings if there are any.
///
/// It returns the [id](Self::id) of the call once a broker has it. From then on the call is where events are, too: it
/// waits for a service to take it, however long that is unless it [expires](Self::expires), and is run at least once. What the
/// procedure returns goes to nobody, unless [`reply_to`](Self::reply_to) says to whom. Where the procedure fails, its service
/// logs a warning, unless [`errors_to`](Self::errors_to) says who is told; the call is not run again. A service that has too
/// much to do gives the call back to the broker for a second.
///
/// Deadline and cancellation of a call that this one is made within do not concern it, and retry policies and circuits do
/// not either: brokers keep what nobody serves.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(session: almanet::Session) -> Result<(), almanet::CallError> {
/// // In ten minutes, one procedure finds a price and another one stores it.
/// let call = session.send("net.example.find_price", &"tea").reply_to("net.example.store_price");
/// call.errors_to("net.example.alarm").after(Duration::from_secs(600)).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`CallError::Publish`] when no broker took the call, or when it is unknown whether one did
/// ([`PublishError::Unconfirmed`](crate::transport::PublishError::Unconfirmed)): an [idempotent](Self::idempotent) call is sent
/// again then, through another broker. [`CallError::DelayTooLong`], [`CallError::TooLarge`], [`CallError::InvalidUri`] and
/// [`CallError::Encode`] before anything is sent.
///
/// # Cancel safety
///
/// When the future is dropped, the call may or may not be made.
#[derive(Clone)]
#[must_use = "a call is made when it is awaited"]
pub struct OneWayCall {
    call: Call<(), RemoteError>,
    way: OneWay,
}

/// What is said of a call that wants no answer.
#[derive(Debug, Clone)]
pub(super) struct OneWay {
    id: Id,
    delay: Duration,
    expires: Option<Duration>,
    reply_to: Option<Result<Uri, InvalidUri>>,
    errors_to: Option<Result<Uri, InvalidUri>>,
}

impl OneWayCall {
    pub(super) fn new(call: Call<(), RemoteError>) -> Self {
        let way = OneWay {
            id: Id::random(),
            delay: Duration::ZERO,
            expires: None,
            reply_to: None,
            errors_to: None,
        };
        Self {
            call: call.detached(),
            way,
        }
    }

    /// The name of the call. A procedure that is called with its answer or its error has the same in
    /// [`Context::call_id`](crate::Context::call_id).
    pub fn id(&self) -> Id {
        self.way.id
    }

    /// Has the broker hold the call back for this long, in whole milliseconds.
    ///
    /// At most [`SessionBuilder::max_deferral`](crate::SessionBuilder::max_deferral), 1 hour by default: a longer delay is
    /// [`CallError::DelayTooLong`].
    pub fn after(mut self, delay: Duration) -> Self {
        self.way.delay = delay;
        self
    }

    /// For how long the call is worth running, counted from the end of its [delay](Self::after): it is dropped when nobody
    /// has begun it by then, and given up when it runs still. Default: as long as it takes.
    pub fn expires(mut self, time: Duration) -> Self {
        self.way.expires = Some(time);
        self
    }

    /// Has the procedure `uri` called with what the procedure returns.
    ///
    /// It is called in the codec of this call, with its [id](Self::id), caller and headers, and with what is left of the
    /// time if the call [expires](Self::expires). Each of the two is run at least once: where a service dies between
    /// them, both are run again, under the same id.
    pub fn reply_to(mut self, uri: impl AsRef<str>) -> Self {
        self.way.reply_to = Some(Uri::new(uri));
        self
    }

    /// Has the procedure `uri` called with a [`FailedCall`](crate::FailedCall) when the procedure fails, in whichever way:
    /// by an error of its own, a panic, a payload that it does not take, a result that cannot be sent, its own time limit.
    pub fn errors_to(mut self, uri: impl AsRef<str>) -> Self {
        self.way.errors_to = Some(Uri::new(uri));
        self
    }

    /// Sends a header along: see [`Call::header`].
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.call = self.call.header(name, value);
        self
    }

    /// Says that running the procedure twice does no more than running it once, so that a call that may have been published
    /// is published again where that is not certain.
    pub fn idempotent(mut self) -> Self {
        self.call = self.call.idempotent();
        self
    }

    /// Names the work that is to be done once: see [`Call::idempotency_key`].
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        self.header(IDEMPOTENCY_KEY, key)
    }

    async fn run(self) -> Result<Id, CallError> {
        let Self { call, way } = self;
        let id = way.id;
        let Some(caller) = call.request.session.caller.clone() else {
            way.publish(call).await?;
            return Ok(id);
        };
        let limits = Limits::of(&call, Instant::now())?;
        let call = OutgoingCall::new(call, Way::Send(Box::new(way)), limits.started)?;
        limits.bound(pass(Some(caller), call)).await?;
        Ok(id)
    }
}

impl OneWay {
    /// Publishes the call, without the layers of its session.
    pub(super) async fn publish(&self, call: Call<(), RemoteError>) -> Result<(), CallError> {
        let idempotent = call.idempotent;
        let (procedure, request) = call.checked()?;
        let shared = &request.session.shared;
        if shared.left.is_cancelled() {
            return Err(CallError::SessionLeft);
        }
        let limit = shared.max_deferral;
        if self.delay > limit {
            let delay = self.delay;
            return Err(CallError::DelayTooLong {
                procedure,
                delay,
                limit,
            });
        }
        let mut invocation = Invocation::new(shared.id, request.payload);
        invocation.id = self.id;
        invocation.takes_control = false;
        invocation.timeout = self.expires.map(|expires| expires.saturating_add(self.delay));
        invocation.headers = request.headers;
        if let Some(receiver) = self.reply_to.clone().transpose()? {
            invocation.reply_topic = Some(receiver.topic().clone());
        }
        if let Some(receiver) = self.errors_to.clone().transpose()? {
            invocation.headers.insert(ERRORS_TO, receiver.as_str());
        }
        let body = match invocation.encode() {
            Ok(body) => body,
            Err(source) => return Err(CallError::Encode { procedure, source }),
        };
        let mut publication = Publication::new(procedure.topic().clone(), body);
        if !self.delay.is_zero() {
            publication = publication.after(self.delay);
        }
        if idempotent {
            publication = publication.allow_duplicates();
        }
        let published = shared.transport.publish(publication).await;
        published.map_err(|error| Failed::Publish(error).into_error(procedure, Instant::now()))
    }
}

impl IntoFuture for OneWayCall {
    type Output = Result<Id, CallError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        let span = self.call.open_span();
        match span {
            None => Box::pin(self.run()),
            Some(span) => Box::pin(span.watch(self.run())),
        }
    }
}

impl fmt::Debug for OneWayCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneWayCall")
            .field("call", &self.call)
            .field("way", &self.way)
            .finish()
    }
}
