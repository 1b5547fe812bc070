//! A service that runs, as it is seen from outside.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{meter::Meter, procedure::ProcedureOptions, schema::Schemas};
use crate::{
    event::ShownConsumer,
    id::Id,
    introspect::{
        Ask, Instance, InstanceInfo, InstanceStats, ProcedureInfo, ProcedureSchema, Question, millis,
    },
    uri::Uri,
    wire::{Codec, EncodeError, Payload},
};

/// What a service that runs says of itself.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) instance: Instance,
    pub(super) description: String,
    pub(super) started: Instant,
    pub(super) stop: CancellationToken,
    /// Without those that are hidden.
    pub(super) procedures: Vec<Shown>,
    pub(super) consumers: Vec<ShownConsumer>,
}

/// A procedure that is not hidden.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) uri: Uri,
    pub(super) options: ProcedureOptions,
    pub(super) schemas: fn() -> Schemas,
    pub(super) meter: Arc<Meter>,
}

impl Serving {
    /// Who this start of a service is.
    pub(super) fn instance(name: String, version: String, session: Id) -> Instance {
        Instance {
            service: if name.is_empty() { program() } else { name },
            version,
            id: Id::random(),
            session,
        }
    }

    /// The answers to `question`, each to be sent; none when another service is meant.
    pub(super) fn answers(&self, question: &Question, codec: Codec) -> Vec<Result<Payload, EncodeError>> {
        let other = |wanted: &Option<String>, is: &str| wanted.as_ref().is_some_and(|wanted| wanted != is);
        if other(&question.service, &self.instance.service) {
            return Vec::new();
        }
        let shown: Vec<&Shown> = self
            .procedures
            .iter()
            .filter(|shown| !other(&question.procedure, shown.uri.as_str()))
            .collect();
        if question.procedure.is_some() && shown.is_empty() {
            return Vec::new();
        }
        // Who asks about a procedure hears of that alone.
        let consumers = match question.procedure {
            None => self.consumers.as_slice(),
            Some(_) => &[],
        };
        match question.ask {
            Ask::Ping => vec![Payload::encode(codec, &self.instance)],
            Ask::Info => vec![Payload::encode(codec, &self.info(&shown, consumers))],
            Ask::Stats => vec![Payload::encode(codec, &self.stats(&shown, consumers))],
            // One by one, because schemas are long and the broker takes messages up to a size.
            Ask::Schema => shown
                .iter()
                .map(|shown| Payload::encode(codec, &self.schema(shown)))
                .collect(),
            Ask::EventSchema => consumers
                .iter()
                .map(|consumer| Payload::encode(codec, &consumer.schema(&self.instance)))
                .collect(),
        }
    }

    fn info(&self, shown: &[&Shown], consumers: &[ShownConsumer]) -> InstanceInfo {
        InstanceInfo {
            instance: self.instance.clone(),
            description: self.description.clone(),
            process: std::process::id(),
            almanet: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: millis(self.started.elapsed()),
            stopping: self.stop.is_cancelled(),
            procedures: shown.iter().map(|shown| shown.info()).collect(),
            consumers: consumers.iter().map(ShownConsumer::info).collect(),
        }
    }

    fn stats(&self, shown: &[&Shown], consumers: &[ShownConsumer]) -> InstanceStats {
        InstanceStats {
            instance: self.instance.clone(),
            uptime_ms: millis(self.started.elapsed()),
            procedures: shown
                .iter()
                .map(|shown| shown.meter.read(shown.uri.as_str()))
                .collect(),
            consumers: consumers.iter().map(ShownConsumer::stats).collect(),
        }
    }

    fn schema(&self, shown: &Shown) -> ProcedureSchema {
        ProcedureSchema {
            instance: self.instance.clone(),
            uri: shown.uri.as_str().to_owned(),
            description: shown.options.description.clone(),
            schemas: (shown.schemas)(),
        }
    }
}

impl Shown {
    fn info(&self) -> ProcedureInfo {
        let options = &self.options;
        ProcedureInfo {
            uri: self.uri.as_str().to_owned(),
            channel: options.channel.clone(),
            description: options.description.clone(),
            tags: options.tags.clone(),
            timeout_ms: options.timeout.map(millis),
            concurrency: options.concurrency as u64,
            idempotent: options.idempotent,
            streaming: options.streaming,
        }
    }
}

/// The name of a service that has been given none.
fn program() -> String {
    std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "unnamed".to_owned())
}
