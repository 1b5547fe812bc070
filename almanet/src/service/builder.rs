//! A service: procedures that start and stop together.

use std::time::Duration;

use tower::{BoxError, Layer};

use super::procedure::{Handler, Procedure, Request};
use crate::wire::Payload;

/// Procedures that start and stop together.
///
/// `#[service]` makes one of a module or an `impl` block; this is the way without a macro.
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
    pub(super) description: String,
    pub(super) grace: Duration,
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

impl Service {
    /// A service without procedures.
    pub fn new() -> Self {
        Self {
            procedures: Vec::new(),
            description: String::new(),
            // Less than Kubernetes gives between SIGTERM and SIGKILL (30 s), with room to say goodbye.
            grace: Duration::from_secs(25),
        }
    }

    /// Adds a procedure.
    pub fn procedure(mut self, procedure: Procedure) -> Self {
        self.procedures.push(procedure);
        self
    }

    /// Adds the procedures of `other`.
    pub fn merge(mut self, other: Service) -> Self {
        self.procedures.extend(other.procedures);
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

    /// The procedures of the service.
    pub fn procedures(&self) -> &[Procedure] {
        &self.procedures
    }

    /// What the service is for, for people. `#[service]` takes the doc comment.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// How long running calls may go on once the service is asked to stop. Those that take longer are dropped and
    /// their messages requeued, for another instance. Default: 25 seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}
