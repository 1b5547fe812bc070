//! A consumer that runs, as it is seen from outside.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::consumer::PushConsumer;
use crate::{
    event::topics::Reading,
    introspect::{ConsumerInfo, ConsumerStats, EventSchema, Instance, millis},
    telemetry::Consumed,
};

/// What is shown of a consumer where services are listed.
#[derive(Debug, Clone)]
pub(crate) struct ShownConsumer {
    topic: String,
    channel: String,
    description: String,
    version: Option<u32>,
    schema: fn() -> Option<Value>,
    timeout: Option<Duration>,
    concurrency: usize,
    max_attempts: u16,
    consumed: Arc<Consumed>,
}

impl ShownConsumer {
    pub(super) fn new(consumer: &PushConsumer, reading: &Reading, consumed: Arc<Consumed>) -> Self {
        Self {
            topic: reading.topics.to_string(),
            channel: reading.channel.as_str().to_owned(),
            description: consumer.description.clone(),
            version: consumer.version,
            schema: consumer.schema,
            timeout: consumer.timeout,
            concurrency: consumer.concurrency,
            max_attempts: consumer.max_attempts,
            consumed,
        }
    }

    pub(crate) fn info(&self) -> ConsumerInfo {
        ConsumerInfo {
            topic: self.topic.clone(),
            channel: self.channel.clone(),
            description: self.description.clone(),
            version: self.version,
            timeout_ms: self.timeout.map(millis),
            concurrency: self.concurrency as u64,
            max_attempts: u32::from(self.max_attempts),
        }
    }

    /// What has become of its events so far.
    pub(crate) fn stats(&self) -> ConsumerStats {
        self.consumed.read(&self.topic, &self.channel)
    }

    /// What the consumer takes, of which `instance` tells.
    pub(crate) fn schema(&self, instance: &Instance) -> EventSchema {
        EventSchema {
            instance: instance.clone(),
            topic: self.topic.clone(),
            channel: self.channel.clone(),
            description: self.description.clone(),
            version: self.version,
            schema: (self.schema)(),
        }
    }
}
