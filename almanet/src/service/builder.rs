//! A service: procedures that start and stop together.

use std::time::Duration;

use tower::{BoxError, Layer};

use super::procedure::{Handler, Procedure, Request};
use crate::{
    event::{EventHandler, IncomingEvent, PushConsumer},
    wire::Payload,
};

/// Procedures and consumers of events that start and stop together.
///
/// `#[service]` makes one of a module, an `impl` block or a trait; this is the way without a macro.
///
/// ```no_run
/// # use std::convert::Infallible;
/// use almanet::{Context, Procedure, Service};
///
/// # async fn example() -> Result<(), almanet::ServeError> {
/// let double = Procedure::new("net.example.double", |_: Context, number: i64| async move {
///     Ok::<_, Infallible>(number * 2)
/// });
/// Service::new().procedure(double).serve("127.0.0.1:4150").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a service runs when `start` or `serve` is awaited"]
pub struct Service {
    pub(super) procedures: Vec<Procedure>,
    pub(super) consumers: Vec<PushConsumer>,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) description: String,
    pub(super) introspection: bool,
    pub(super) schema_topics: bool,
    pub(super) grace: Duration,
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

impl Service {
    /// A service without procedures and consumers.
    pub fn new() -> Self {
        Self {
            procedures: Vec::new(),
            consumers: Vec::new(),
            name: String::new(),
            version: String::new(),
            description: String::new(),
            introspection: true,
            schema_topics: false,
            // Less than Kubernetes gives between SIGTERM and SIGKILL (30 s), with room to say goodbye.
            grace: Duration::from_secs(25),
        }
    }

    /// Adds a procedure.
    pub fn procedure(mut self, procedure: Procedure) -> Self {
        self.procedures.push(procedure);
        self
    }

    /// Adds a consumer of events.
    pub fn consumer(mut self, consumer: PushConsumer) -> Self {
        self.consumers.push(consumer);
        self
    }

    /// Adds the procedures and the consumers of `other`. What has been said of this service stays.
    pub fn merge(mut self, other: Service) -> Self {
        self.procedures.extend(other.procedures);
        self.consumers.extend(other.consumers);
        self
    }

    /// Wraps each procedure that the service has so far in a [`tower::Layer`]. The last layer added is the outermost, so
    /// it surrounds the procedures' own layers. See [`layer`](crate::layer).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use almanet::{Service, layer::TimeoutLayer};
    ///
    /// fn hasty(service: Service) -> Service {
    ///     service.layer(TimeoutLayer::new(Duration::from_secs(2)))
    /// }
    /// ```
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Handler>,
        L::Service: tower::Service<Request, Response = Payload, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let procedures = self.procedures.into_iter();
        self.procedures = procedures.map(|procedure| procedure.layer(&layer)).collect();
        self
    }

    /// Wraps each consumer of events that the service has so far in a [`tower::Layer`], outside of the consumers' own
    /// layers. The last layer added is the outermost. See [`layer`](crate::layer).
    ///
    /// ```
    /// use almanet::{Service, layer::GlobalConcurrencyLimitLayer};
    ///
    /// // The database takes eight connections of this program, whichever events need them.
    /// fn modest(service: Service) -> Service {
    ///     service.consumer_layer(GlobalConcurrencyLimitLayer::new(8))
    /// }
    /// ```
    pub fn consumer_layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<EventHandler>,
        L::Service: tower::Service<IncomingEvent, Response = (), Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let consumers = self.consumers.into_iter();
        self.consumers = consumers.map(|consumer| consumer.layer(&layer)).collect();
        self
    }

    /// The procedures of the service.
    pub fn procedures(&self) -> &[Procedure] {
        &self.procedures
    }

    /// What the service is called where services are listed. `#[service]` takes its prepath, or else the name of the
    /// crate.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The version that is shown where services are listed. `#[service]` takes that of the crate it stands in, which
    /// for a trait is the crate of the contract.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// What the service is for, for people. `#[service]` takes the doc comment.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Whether the service answers when it is asked what it is and how it does
    /// ([`Session::introspect`](crate::Session::introspect)). Default: yes.
    ///
    /// What is shown are names, options, doc comments, schemas and counts, to whoever can publish to the brokers; never
    /// payloads. Procedures that are [`hidden`](Procedure::hidden) are left out.
    pub fn introspection(mut self, on: bool) -> Self {
        self.introspection = on;
        self
    }

    /// Whether the service also answers on the topics by which the Python package shares schemas,
    /// `_rpc_._schema_.<uri>.<channel>` for each procedure that is not hidden and `_rpc_._schema_.client`. Default: no,
    /// as there, because each is a subscription more.
    pub fn schema_topics(mut self, on: bool) -> Self {
        self.schema_topics = on;
        self
    }

    /// How long running calls and handlers of events may go on once the service is asked to stop. Those that take longer are dropped and
    /// their messages requeued, for another instance. Default: 25 seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}
