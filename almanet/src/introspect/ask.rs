//! Asking, and collecting the answers.

use std::time::Duration;

use almanet_nsq::TopicName;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::{
    Ask, CONTROL_TOPIC, Question,
    report::{EventSchema, Instance, InstanceInfo, InstanceStats, ProcedureSchema},
};
use crate::{
    error::IntrospectError,
    session::{MulticallEnd, NotScattered, Session, Until},
    wire::{Invocation, Payload},
};

/// A question to all services that run, about to be asked: by [`ping`](Self::ping), [`info`](Self::info),
/// [`stats`](Self::stats), [`schemas`](Self::schemas) or [`event_schemas`](Self::event_schemas).
///
/// Answers are collected until none has come for the [`quiet`](Self::quiet) time, or until the
/// [`timeout`](Self::timeout). Nobody knows how many services there are, so one that takes longer is missed. An answer
/// that cannot be read, as one of a much later version may be, is logged and left out.
///
/// ```no_run
/// # async fn example(session: almanet::Session) -> Result<(), almanet::IntrospectError> {
/// for instance in session.introspect().service("net.example").stats().await? {
///     for procedure in instance.procedures {
///         println!("{} p99 {} us, {} failed", procedure.uri, procedure.p99_us, procedure.failed());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is asked until `ping`, `info`, `stats` or `schemas` is awaited"]
pub struct Introspection {
    session: Session,
    service: Option<String>,
    procedure: Option<String>,
    quiet: Duration,
    timeout: Duration,
}

impl Session {
    /// Asks the services that run what they are and how they do.
    pub fn introspect(&self) -> Introspection {
        Introspection {
            session: self.clone(),
            service: None,
            procedure: None,
            // Services answer at once: this is a hundred round trips on one machine, and several across continents.
            quiet: Duration::from_millis(300),
            timeout: Duration::from_secs(2),
        }
    }

    /// The services that run, with their procedures: [`introspect`](Self::introspect) and its
    /// [`info`](Introspection::info).
    ///
    /// ```no_run
    /// # async fn example(session: almanet::Session) -> Result<(), almanet::IntrospectError> {
    /// for found in session.discover().await? {
    ///     println!("{} {}", found.instance.service, found.instance.version);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`IntrospectError`] when the question could not be asked. That nobody answered is no error.
    ///
    /// # Cancel safety
    ///
    /// A question that is dropped is forgotten here.
    pub async fn discover(&self) -> Result<Vec<InstanceInfo>, IntrospectError> {
        self.introspect().info().await
    }
}

impl Introspection {
    /// Asks only services of this name.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = Some(name.into());
        self
    }

    /// Asks only services that have this procedure, and about nothing else.
    pub fn procedure(mut self, uri: impl Into<String>) -> Self {
        self.procedure = Some(uri.into());
        self
    }

    /// How long to wait for another answer after one has come. Default: 300 milliseconds.
    pub fn quiet(mut self, quiet: Duration) -> Self {
        self.quiet = quiet;
        self
    }

    /// How long to wait at most, and for the first answer. Default: 2 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Asks who is there. The answers are sorted by the name of the service, as all are.
    ///
    /// # Errors
    ///
    /// [`IntrospectError`] when the question could not be asked. That nobody answered is no error.
    ///
    /// # Cancel safety
    ///
    /// A question that is dropped is forgotten here.
    pub async fn ping(self) -> Result<Vec<Instance>, IntrospectError> {
        self.ask(Ask::Ping, Instance::clone).await
    }

    /// Asks what the services are.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    ///
    /// # Cancel safety
    ///
    /// As [`ping`](Self::ping).
    pub async fn info(self) -> Result<Vec<InstanceInfo>, IntrospectError> {
        self.ask(Ask::Info, |info: &InstanceInfo| info.instance.clone())
            .await
    }

    /// Asks how the services do.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    ///
    /// # Cancel safety
    ///
    /// As [`ping`](Self::ping).
    pub async fn stats(self) -> Result<Vec<InstanceStats>, IntrospectError> {
        self.ask(Ask::Stats, |stats: &InstanceStats| stats.instance.clone())
            .await
    }

    /// Asks what the procedures take and return. Each procedure of each instance is an answer of its own.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    ///
    /// # Cancel safety
    ///
    /// As [`ping`](Self::ping).
    pub async fn schemas(self) -> Result<Vec<ProcedureSchema>, IntrospectError> {
        let key = |schema: &ProcedureSchema| (schema.instance.clone(), schema.uri.clone());
        self.ask(Ask::Schema, key).await
    }

    /// Asks which events the services consume: topic, channel, version and schema. Each consumer of each instance is an
    /// answer of its own.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    ///
    /// # Cancel safety
    ///
    /// As [`ping`](Self::ping).
    pub async fn event_schemas(self) -> Result<Vec<EventSchema>, IntrospectError> {
        let key = |schema: &EventSchema| {
            (
                schema.instance.clone(),
                schema.topic.clone(),
                schema.channel.clone(),
            )
        };
        self.ask(Ask::EventSchema, key).await
    }

    /// Asks, collects and sorts by `key`, by which an answer that was delivered twice is known too.
    async fn ask<T: DeserializeOwned, K: Ord>(
        self,
        ask: Ask,
        key: impl Fn(&T) -> K,
    ) -> Result<Vec<T>, IntrospectError> {
        let deadline = Instant::now().checked_add(self.timeout);
        let question = Question {
            ask,
            service: self.service,
            procedure: self.procedure,
        };
        let payload = Payload::encode(self.session.codec(), &question)?;
        let topic = TopicName::new(CONTROL_TOPIC)?;
        let mut invocation = Invocation::new(self.session.id(), payload);
        invocation.timeout = Some(self.timeout);
        let until = Until {
            deadline,
            quiet: Some(self.quiet),
            ..Until::default()
        };
        let scattered = self.session.scatter(topic, invocation, until);
        let mut gathered = match deadline {
            Some(deadline) => timeout_at(deadline, scattered).await,
            None => Ok(scattered.await),
        }
        .map_err(|_| IntrospectError::Unconfirmed { waited: self.timeout })??;

        let mut answers = Vec::new();
        while let Some(reply) = gathered.next().await {
            match reply.outcome.map(|payload| payload.decode()) {
                Ok(Ok(answer)) => answers.push(answer),
                Ok(Err(error)) => tracing::warn!(?ask, %error, "left out an answer that cannot be read"),
                Err(error) => tracing::warn!(?ask, %error, "a service could not answer what it is"),
            }
        }
        if gathered.ended() == Some(MulticallEnd::SessionLeft) {
            return Err(IntrospectError::SessionLeft);
        }
        answers.sort_by_cached_key(&key);
        answers.dedup_by_key(|answer| key(answer));
        Ok(answers)
    }
}

impl From<NotScattered> for IntrospectError {
    fn from(why: NotScattered) -> Self {
        match why {
            NotScattered::Encode(error) => Self::Encode(error),
            NotScattered::Subscribe(error) => Self::Subscribe(error),
            NotScattered::Publish(error) => Self::Publish(error),
            NotScattered::SessionLeft => Self::SessionLeft,
        }
    }
}
