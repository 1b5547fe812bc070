//! One push consumer: what it reads, what runs for each event, and what becomes of failures.

use std::{fmt, future::ready, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::{BoxError, Layer};

use super::{
    context::EventContext,
    layered::{EventHandler, Function, IncomingEvent, Runs, running},
};
use crate::{
    error::StartError,
    event::{
        Event,
        failure::{Failure, HandlerResult},
        retry::EventRetry,
        topics::{Channel, FOLLOW_INTERVAL, Topics},
    },
    service::{Service, ServiceHandle},
    session::Session,
    wire::Codec,
};

/// A function to which the events of a topic are given.
///
/// [`#[consumer]`](macro@crate::consumer) makes one of an annotated function; this is the way without a macro. Add it to
/// a [`Service`], or [`start`](Self::start) it alone.
///
/// ```no_run
/// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
/// use almanet::{EventContext, Failure, PushConsumer};
///
/// let welcome = PushConsumer::new("net.example.joined", "mailer", |_: EventContext, name: String| async move {
///     println!("welcome, {name}");
///     Ok::<_, Failure>(())
/// });
/// let running = welcome.concurrency(8).max_attempts(5).start(&session).await?;
/// # running.stop().await;
/// # Ok(())
/// # }
/// ```
///
/// # What becomes of an event
///
/// | what happens | what becomes of the event |
/// |---|---|
/// | the function returns `Ok` or nothing | it is acknowledged |
/// | it returns an error, panics, or takes longer than its [`timeout`](Self::timeout) | it is handled again after the delay of [`retry`](Self::retry), up to [`max_attempts`](Self::max_attempts), then goes to the dead letters |
/// | it returns [`Failure::permanent`] | dead letters |
/// | the body is no event of the function's type | dead letters; the function does not run |
/// | it was delivered more than `max_attempts` times, since its consumers died with it | dead letters; the function does not run |
/// | the dead letter is not confirmed | it stays on its channel and comes again |
/// | the function takes longer than [`message_timeout`](Self::message_timeout) | it is touched in time, and stays with this function |
/// | the process dies | it is delivered again: at once by the embedded broker, after `message_timeout` by nsqd |
///
/// Delivery is at least once: a process that dies between its work and the acknowledgement does the work again.
#[derive(Clone)]
#[must_use = "a consumer runs when it is started, alone or in a `Service`"]
pub struct PushConsumer {
    pub(super) topics: Topics,
    pub(super) channel: Channel,
    pub(super) handler: Runs,
    pub(super) description: String,
    pub(super) version: Option<u32>,
    pub(super) schema: fn() -> Option<Value>,
    pub(super) concurrency: usize,
    pub(super) max_attempts: u16,
    pub(super) retry: EventRetry,
    pub(super) timeout: Option<Duration>,
    pub(super) message_timeout: Duration,
    pub(super) follow_interval: Duration,
}

impl PushConsumer {
    /// Gives the events of `topic` to `function`, as a member of `channel`: its members share the events.
    ///
    /// Names that are not valid show when it is started.
    pub fn new<F, T, R>(topic: impl Into<String>, channel: impl Into<String>, function: F) -> Self
    where
        F: Fn(EventContext, T) -> R + Send + Sync + 'static,
        T: DeserializeOwned + Send + 'static,
        R: Future<Output: HandlerResult> + Send + 'static,
    {
        Self::reading(
            Topics::One(topic.into()),
            Channel::Named(channel.into()),
            function,
        )
    }

    /// Gives the events of type `E` to `function`, as a member of `channel`.
    pub fn of_event<F, E, R>(channel: impl Into<String>, function: F) -> Self
    where
        F: Fn(EventContext, E) -> R + Send + Sync + 'static,
        E: Event,
        R: Future<Output: HandlerResult> + Send + 'static,
    {
        Self::new(E::TOPIC, channel, function)
            .version(E::VERSION)
            .schema(E::schema)
    }

    /// Gives every event of `topic` that is published from now on to `function`, in each instance of the program: the
    /// channel is its own, and ends with it.
    pub fn broadcast<F, T, R>(topic: impl Into<String>, function: F) -> Self
    where
        F: Fn(EventContext, T) -> R + Send + Sync + 'static,
        T: DeserializeOwned + Send + 'static,
        R: Future<Output: HandlerResult> + Send + 'static,
    {
        Self::reading(Topics::One(topic.into()), Channel::Own, function)
    }

    /// Gives the events of all topics that match `pattern` (see [`TopicPattern`](crate::TopicPattern)) to `function`, as
    /// a member of `channel` on each, and follows topics as they appear.
    ///
    /// Somebody has to say which topics there are: see [`Session::consume_matching`].
    pub fn matching<F, T, R>(pattern: impl Into<String>, channel: impl Into<String>, function: F) -> Self
    where
        F: Fn(EventContext, T) -> R + Send + Sync + 'static,
        T: DeserializeOwned + Send + 'static,
        R: Future<Output: HandlerResult> + Send + 'static,
    {
        let (topics, channel) = (Topics::Matching(pattern.into()), Channel::Named(channel.into()));
        Self::reading(topics, channel, function)
    }

    fn reading<F, T, R>(topics: Topics, channel: Channel, function: F) -> Self
    where
        F: Fn(EventContext, T) -> R + Send + Sync + 'static,
        T: DeserializeOwned + Send + 'static,
        R: Future<Output: HandlerResult> + Send + 'static,
    {
        let handler: Function =
            Arc::new(
                move |context, codec: Codec, payload: &Bytes, spare| match codec.decode::<T>(payload) {
                    Ok(event) => {
                        let handling = function(context, event);
                        running(spare, async move { handling.await.into_result() })
                    }
                    Err(error) => running(spare, ready(Err(Failure::undecodable(&error)))),
                },
            );
        Self {
            topics,
            channel,
            handler: Runs::Bare(handler),
            description: String::new(),
            version: None,
            schema: || None,
            // Enough for handlers that wait on others, few enough to share a channel with other instances.
            concurrency: 64,
            max_attempts: 10,
            retry: EventRetry::default(),
            timeout: None,
            // nsqd gives nothing back any earlier when a consumer dies, and handlers that run longer are touched.
            message_timeout: Duration::from_secs(10),
            follow_interval: FOLLOW_INTERVAL,
        }
    }

    /// What the consumer does, for people. `#[consumer]` takes the doc comment.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// The version of the events that the function takes, which is shown where services are listed. `#[consumer]` and
    /// [`of_event`](Self::of_event) take that of the [`Event`].
    pub fn version(mut self, version: impl Into<Option<u32>>) -> Self {
        self.version = version.into();
        self
    }

    /// Says how to make the JSON Schema of the events that the function takes, when somebody asks for it. `#[consumer]`
    /// and [`of_event`](Self::of_event) take that of the type.
    pub fn schema(mut self, make: fn() -> Option<Value>) -> Self {
        self.schema = make;
        self
    }

    /// The most events that are handled at once in this instance, at least 1. Default: 64.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// How often an event is handled at most, at least once, before it goes to the dead letters. Default: 10.
    pub fn max_attempts(mut self, attempts: u16) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// How long an event waits before it is handled again. Default: [`EventRetry::default`].
    pub fn retry(mut self, retry: EventRetry) -> Self {
        self.retry = retry;
        self
    }

    /// How long one attempt may take; then its future is dropped, and it has failed. Default: as long as it takes, up to
    /// nsqd's `--max-msg-timeout` (15 min).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long the broker waits to hear of an event that is handled before it gives it to another consumer. Default: 10
    /// seconds. Events are touched at a third of it, so only a consumer that died lets it pass; nsqd wants at least 1 s.
    pub fn message_timeout(mut self, timeout: Duration) -> Self {
        self.message_timeout = timeout;
        self
    }

    /// How often a consumer of a pattern looks for new topics. Default: every 15 seconds.
    pub fn follow_interval(mut self, interval: Duration) -> Self {
        self.follow_interval = interval;
        self
    }

    /// Wraps what runs for each event in a [`tower::Layer`]. The last layer added is the outermost. See
    /// [`layer`](crate::layer).
    ///
    /// ```
    /// use almanet::{EventHandler, Failure, IncomingEvent, PushConsumer, layer::{self, Next}};
    ///
    /// fn of_known_tenants(consumer: PushConsumer) -> PushConsumer {
    ///     consumer.layer(layer::from_fn(|event: IncomingEvent, next: Next<EventHandler>| async move {
    ///         match event.context.headers().get("tenant") {
    ///             Some(_) => next.run(event).await,
    ///             None => Err(Failure::permanent("it belongs to nobody")),
    ///         }
    ///     }))
    /// }
    /// ```
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<EventHandler>,
        L::Service: tower::Service<IncomingEvent, Response = (), Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.handler = self.handler.layer(&layer);
        self
    }

    /// Starts the consumer alone; returns once its subscription is confirmed.
    ///
    /// # Errors
    ///
    /// [`StartError`] when it cannot be started.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, nothing is left running.
    pub async fn start(self, session: &Session) -> Result<ServiceHandle, StartError> {
        Service::new().consumer(self).start(session).await
    }
}

impl fmt::Debug for PushConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushConsumer")
            .field("topics", &self.topics)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}
