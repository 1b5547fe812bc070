//! A service: procedures that start and stop together.

use std::time::Duration;

use super::procedure::Procedure;
use crate::event::PushConsumer;

/// Procedures and consumers of events that start and stop together.
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
    pub(super) consumers: Vec<PushConsumer>,
    pub(super) description: String,
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

    /// Adds a consumer of events.
    pub fn consumer(mut self, consumer: PushConsumer) -> Self {
        self.consumers.push(consumer);
        self
    }

    /// Adds the procedures and the consumers of `other`.
    pub fn merge(mut self, other: Service) -> Self {
        self.procedures.extend(other.procedures);
        self.consumers.extend(other.consumers);
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

    /// How long running calls and handlers of events may go on once the service is asked to stop. Those that take longer are dropped and
    /// their messages requeued, for another instance. Default: 25 seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}
