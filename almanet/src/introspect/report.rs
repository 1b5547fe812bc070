//! What services answer.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{id::Id, service::Schemas};

/// A service that runs: one start of one program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Instance {
    /// The name of the service ([`Service::name`](crate::Service::name)).
    pub service: String,
    /// Its version ([`Service::version`](crate::Service::version)); empty when it has none.
    pub version: String,
    /// This start of it.
    pub id: Id,
    /// The session that serves it.
    pub session: Id,
}

/// What a service is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InstanceInfo {
    /// Who answers.
    pub instance: Instance,
    /// What the service is for, for people.
    pub description: String,
    /// The number of its process, on its machine.
    pub process: u32,
    /// The version of the library that serves it.
    pub almanet: String,
    /// For how many milliseconds it has been running.
    pub uptime_ms: u64,
    /// Whether it is about to end: it takes no new calls.
    pub stopping: bool,
    /// Its procedures, without those that are hidden.
    pub procedures: Vec<ProcedureInfo>,
    /// Its consumers of events.
    #[serde(default)]
    pub consumers: Vec<ConsumerInfo>,
}

/// What has been said of a procedure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcedureInfo {
    /// The name by which it is called.
    pub uri: String,
    /// The channel that its instances share.
    pub channel: String,
    /// What it does, for people.
    pub description: String,
    /// Words by which tools can group procedures.
    pub tags: Vec<String>,
    /// How many milliseconds one run may take; `None` for as long as the caller waits.
    pub timeout_ms: Option<u64>,
    /// The most calls that run at once in this instance.
    pub concurrency: u64,
    /// Whether running twice does no more than running once.
    pub idempotent: bool,
    /// Whether it answers with a stream.
    #[serde(default)]
    pub streaming: bool,
}

/// What has been said of a consumer of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// The topic, or the pattern of topics.
    pub topic: String,
    /// The channel that its instances share; one of its own for a broadcast.
    pub channel: String,
    /// What it does, for people.
    pub description: String,
    /// The version of the events; `None` for a type that has none.
    pub version: Option<u32>,
    /// How many milliseconds one attempt may take; `None` for as long as it takes.
    pub timeout_ms: Option<u64>,
    /// The most events that are handled at once in this instance.
    pub concurrency: u64,
    /// How often an event is handled at most before it is a dead letter.
    pub max_attempts: u32,
}

/// How a service does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InstanceStats {
    /// Who answers.
    pub instance: Instance,
    /// For how many milliseconds it has been running; the counts are of that time.
    pub uptime_ms: u64,
    /// Its procedures, without those that are hidden.
    pub procedures: Vec<ProcedureStats>,
    /// Its consumers of events.
    #[serde(default)]
    pub consumers: Vec<ConsumerStats>,
}

/// The counts of one procedure in one instance, since it started.
///
/// Times are those of the runs that had an answer, from when the call was taken in to when its answer was there. They are
/// rounded up by at most a sixteenth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcedureStats {
    /// The name by which it is called.
    pub uri: String,
    /// Runs that were begun. A call that is delivered again runs again.
    pub calls: u64,
    /// Runs that are under way.
    pub in_flight: u64,
    /// Runs that ended in a value or an error.
    pub answered: u64,
    /// Those of them that ended in an error, by its name. After 64 names, the others count as `(other)`.
    pub errors: BTreeMap<String, u64>,
    /// Calls whose caller waited no more when they came, so that they were not run.
    pub expired: u64,
    /// Runs that were dropped: their caller waited no more, or the service ended.
    pub given_up: u64,
    /// Messages that were no calls, or named no valid topic for their answer.
    pub malformed: u64,
    /// The mean time in microseconds.
    pub mean_us: u64,
    /// The time that half of the runs were within, in microseconds.
    pub p50_us: u64,
    /// The time that nine of ten runs were within, in microseconds.
    pub p90_us: u64,
    /// The time that 99 of 100 runs were within, in microseconds.
    pub p99_us: u64,
    /// The longest time, in microseconds.
    pub max_us: u64,
}

impl ProcedureStats {
    /// The runs that ended in an error, of any name.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// The counts of one consumer of events in one instance, since it started: of deliveries, so an event that comes again counts
/// again. Steps of a long delay do not count.
///
/// The counts are named as in the metric `almanet_consumed_total`. Times are those of the attempts that ended, well or badly, from
/// when the event was given to its function. They are rounded up by at most a sixteenth. After the first thousand events, one of
/// sixteen attempts that end without waiting is timed, and stands for all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConsumerStats {
    /// The topic, or the pattern of topics.
    pub topic: String,
    /// The channel that its instances share; one of its own for a broadcast.
    pub channel: String,
    /// Events that came in.
    pub received: u64,
    /// Those of them that are being handled, or put aside.
    pub in_flight: u64,
    /// Those that were acknowledged.
    pub ok: u64,
    /// Those that failed, and come again.
    pub retried: u64,
    /// Those that were put aside.
    pub dead_letter: u64,
    /// Those whose dead letter was refused: they stay, and come again.
    pub not_put_aside: u64,
    /// Those that were dropped unanswered, and come again: the service ended.
    pub dropped: u64,
    /// The mean time in microseconds.
    pub mean_us: u64,
    /// The time that half of the attempts were within, in microseconds.
    pub p50_us: u64,
    /// The time that nine of ten attempts were within, in microseconds.
    pub p90_us: u64,
    /// The time that 99 of 100 attempts were within, in microseconds.
    pub p99_us: u64,
    /// The longest time, in microseconds.
    pub max_us: u64,
}

/// What one procedure takes and returns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcedureSchema {
    /// Who answers.
    pub instance: Instance,
    /// The name by which it is called.
    pub uri: String,
    /// What it does, for people.
    pub description: String,
    /// The schemas.
    pub schemas: Schemas,
}

/// What one consumer of events takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventSchema {
    /// Who answers.
    pub instance: Instance,
    /// The topic, or the pattern of topics.
    pub topic: String,
    /// The channel that its instances share; one of its own for a broadcast.
    pub channel: String,
    /// What it does, for people.
    pub description: String,
    /// The version of the events; `None` for a type that has none.
    pub version: Option<u32>,
    /// The JSON Schema (draft 2020-12) of the events as they are read, if the type has one.
    pub schema: Option<Value>,
}

/// A time for people and for other languages.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
