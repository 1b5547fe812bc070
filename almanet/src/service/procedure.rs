//! One procedure: its name, its options and what runs when it is called.

use std::{future::ready, time::Duration};

use futures_util::future::Either;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use tower::{BoxError, Layer, util::BoxCloneSyncService};

use super::{context::Context, layered::Runs, schema::Schemas};
use crate::{
    error::{INVALID_PAYLOAD, INVALID_RETURN, RemoteError, RpcError},
    id::Id,
    uri::{InvalidUri, Uri},
    wire::Payload,
};

/// What runs when a procedure is called, as a [`tower::Service`].
pub type Handler = BoxCloneSyncService<Request, Payload, RemoteError>;

/// A call as a [`Handler`] takes it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// The circumstances of the call.
    pub context: Context,
    /// The argument, not yet read.
    pub payload: Payload,
}

impl Request {
    /// `error` as the answer to this call, for a layer that does not let it pass. Its caller matches it by type, as if
    /// the procedure had returned it.
    pub fn raise(&self, error: &impl RpcError) -> RemoteError {
        RemoteError::raised(self.payload.codec(), error)
    }
}

/// A function that can be called by name.
///
/// `#[procedure]` makes one of an annotated function; this is the way without a macro.
///
/// ```
/// use std::convert::Infallible;
/// use almanet::{Context, Procedure};
///
/// let double = Procedure::new("net.example.double", |_: Context, number: i64| async move {
///     Ok::<_, Infallible>(number * 2)
/// });
/// ```
#[derive(Debug, Clone)]
#[must_use = "a procedure is served by a `Service`"]
pub struct Procedure {
    pub(super) uri: Result<Uri, InvalidUri>,
    pub(super) runs: Runs,
    pub(super) options: ProcedureOptions,
    pub(super) schemas: fn() -> Schemas,
}

/// What has been said of a procedure beside its name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcedureOptions {
    /// What the procedure does, for people.
    pub description: String,
    /// The channel that the instances share.
    pub channel: String,
    /// Whether each instance has a channel of its own, so that every one gets every call.
    pub broadcast: bool,
    /// How long one run may take; `None` for as long as the caller waits.
    pub timeout: Option<Duration>,
    /// The most calls that run at once in this instance.
    pub concurrency: usize,
    /// The most calls that wait in this instance for one of those to end; `None` where they wait in the broker.
    pub queue: Option<usize>,
    /// How long a call may have waited before it is run; `None` for as long as its caller waits.
    pub queue_time: Option<Duration>,
    /// For how long the answer to a call with an idempotency key is remembered.
    pub remember: Duration,
    /// Whether running twice does no more than running once.
    pub idempotent: bool,
    /// Words by which tools can group procedures.
    pub tags: Vec<String>,
    /// Whether listings leave the procedure out.
    pub hidden: bool,
    /// Whether it answers with a stream.
    pub streaming: bool,
}

impl Default for ProcedureOptions {
    fn default() -> Self {
        Self {
            description: String::new(),
            channel: "almanet".to_owned(),
            broadcast: false,
            timeout: None,
            // Enough for handlers that wait on others; the ones that compute should say what the machine can do.
            concurrency: 1024,
            queue: None,
            queue_time: None,
            // Longer than callers try again, by default and by far.
            remember: Duration::from_secs(600),
            idempotent: false,
            tags: Vec::new(),
            hidden: false,
            streaming: false,
        }
    }
}

impl ProcedureOptions {
    /// Names the channel of the instance that is about to start.
    pub(super) fn settle_channel(&mut self, instance: Id) {
        if self.broadcast {
            self.channel = format!("almanet.{instance}#ephemeral");
        }
    }
}

impl Procedure {
    /// A procedure called `uri` that runs `function`.
    ///
    /// The payload is read before the function runs; a caller whose payload does not fit gets
    /// [`CallError::InvalidPayload`](crate::CallError::InvalidPayload). A URI that is not valid shows when the service
    /// is started.
    pub fn new<F, P, R, T, E>(uri: impl AsRef<str>, function: F) -> Self
    where
        F: Fn(Context, P) -> R + Send + Sync + 'static,
        P: DeserializeOwned + Send + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: RpcError,
    {
        let runs = Runs::bare(move |request: Request| {
            let codec = request.payload.codec();
            match request.payload.decode() {
                Ok(payload) => {
                    let running = function(request.context, payload);
                    Either::Left(async move {
                        match running.await {
                            Ok(value) => Payload::encode(codec, &value).map_err(|error| {
                                RemoteError::sentence(codec, INVALID_RETURN, &error.to_string())
                            }),
                            Err(error) => Err(RemoteError::raised(codec, &error)),
                        }
                    })
                }
                Err(error) => Either::Right(ready(Err(RemoteError::sentence(
                    codec,
                    INVALID_PAYLOAD,
                    &error.to_string(),
                )))),
            }
        });
        Self::running(uri, runs)
    }

    fn running(uri: impl AsRef<str>, runs: Runs) -> Self {
        Self {
            uri: Uri::new(uri),
            runs,
            options: ProcedureOptions::default(),
            schemas: Schemas::default,
        }
    }

    /// A procedure that answers with a stream.
    pub(super) fn streamed(uri: impl AsRef<str>, runs: Runs) -> Self {
        let mut procedure = Self::running(uri, runs);
        procedure.options.streaming = true;
        procedure
    }

    /// The name of the procedure.
    ///
    /// # Errors
    ///
    /// [`InvalidUri`] when it was made with a name that is not valid.
    pub fn uri(&self) -> Result<&Uri, &InvalidUri> {
        self.uri.as_ref()
    }

    /// What has been said of the procedure.
    pub fn options(&self) -> &ProcedureOptions {
        &self.options
    }

    /// Makes the schemas of what the procedure takes and returns.
    pub fn make_schemas(&self) -> Schemas {
        (self.schemas)()
    }

    /// Says how to make the schemas of what the procedure takes and returns, when somebody asks for them.
    /// `#[procedure]` does.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use almanet::{Context, Procedure, Schemas};
    /// let double = Procedure::new("net.example.double", |_: Context, number: i64| async move {
    ///     Ok::<_, Infallible>(number * 2)
    /// });
    /// let double = double.schemas(Schemas::of::<i64, i64, Infallible>);
    /// ```
    pub fn schemas(mut self, make: fn() -> Schemas) -> Self {
        self.schemas = make;
        self
    }

    /// What the procedure does, for people. `#[procedure]` takes the doc comment.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.options.description = description.into();
        self
    }

    /// The channel that the instances share. Default: `almanet`. NSQ copies a message to every channel, so
    /// instances that share the work must share the channel.
    pub fn channel(mut self, channel: impl Into<String>) -> Self {
        self.options.channel = channel.into();
        self.options.broadcast = false;
        self
    }

    /// Gives each instance a channel of its own, which ends with it, so that every call runs in all instances that are there
    /// when it is made. Callers collect the answers by a [multicall](crate::Session::multicall), or want none
    /// ([`Session::send`](crate::Session::send)); a plain call takes the first.
    ///
    /// It is for what only an instance itself can tell or do: what it holds in memory, a cache to be emptied. A call that is
    /// made when no instance is there waits for the first one to start, if it has not expired by then.
    pub fn broadcast(mut self) -> Self {
        self.options.broadcast = true;
        self
    }

    /// How long one run may take. Then it is dropped, and its caller gets
    /// [`CallError::Timeout`](crate::CallError::Timeout) at once. A caller that waits less ends it earlier. Default: as
    /// long as the caller waits.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// The most calls that run at once in this instance, at least 1. Default: 1024.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.options.concurrency = concurrency.max(1);
        self
    }

    /// The most calls that wait in this instance while as many run as [may](Self::concurrency). One more is answered
    /// with [`CallError::Overloaded`](crate::CallError::Overloaded) at once, so that its caller can try another instance,
    /// do without, or try later, instead of waiting in vain.
    ///
    /// Default: no such limit. Calls wait in the broker then, for as long as their callers do, and go to whichever
    /// instance is free first. A limit is for procedures that callers can do without, or that have bursts which would
    /// leave every caller waiting for its timeout.
    pub fn queue(mut self, calls: usize) -> Self {
        self.options.queue = Some(calls);
        self
    }

    /// How long a call may have waited, in the broker and in this instance, before it is run. One that has waited longer
    /// is answered with [`CallError::Overloaded`](crate::CallError::Overloaded). Default: as long as its caller waits.
    pub fn queue_time(mut self, longest: Duration) -> Self {
        self.options.queue_time = Some(longest);
        self
    }

    /// For how long this instance remembers its answer to a call with an
    /// [idempotency key](crate::Call::idempotency_key), to give it again. Default: 10 minutes.
    ///
    /// It remembers at most 10,000 answers and 16 MiB of them, and forgets the oldest beyond that. Errors that the
    /// procedure returned are remembered too; that it panicked, was refused or ran out of time is not.
    pub fn remember(mut self, time: Duration) -> Self {
        // No instance runs longer than that, and clocks can count it.
        self.options.remember = time.min(Duration::from_secs(365 * 86400));
        self
    }

    /// Says that running twice does no more than running once.
    pub fn idempotent(mut self) -> Self {
        self.options.idempotent = true;
        self
    }

    /// Adds a word by which tools can group procedures.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.options.tags.push(tag.into());
        self
    }

    /// Keeps the procedure out of listings. It can be called all the same.
    pub fn hidden(mut self) -> Self {
        self.options.hidden = true;
        self
    }

    /// Wraps what runs in a [`tower::Layer`]. The last layer added is the outermost. See [`layer`](crate::layer).
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Handler>,
        L::Service: tower::Service<Request, Response = Payload, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.runs = self.runs.layer(&layer);
        self
    }
}

/// The payload of a procedure that takes none: whatever comes is passed over.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPayload;

impl Serialize for NoPayload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for NoPayload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// What a function returns that can fail, whatever alias it goes by.
pub trait Outcome {
    /// The type of its value.
    type Value;
    /// The type of its error.
    type Error;

    /// The `Result` that it is.
    ///
    /// # Errors
    ///
    /// The function's own.
    fn into_result(self) -> Result<Self::Value, Self::Error>;
}

impl<T, E> Outcome for Result<T, E> {
    type Value = T;
    type Error = E;

    fn into_result(self) -> Self {
        self
    }
}
