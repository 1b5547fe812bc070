//! What became of the calls of one procedure, counted while they run.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::counts::CallCounts;
use crate::{
    error::RemoteError,
    introspect::ProcedureStats,
    telemetry::{Counter, Latencies},
    wire::Payload,
};

/// Errors are counted by name up to so many names: a procedure may make names up.
const MOST_NAMES: usize = 64;
/// The name under which the others are counted.
const OTHER_NAMES: &str = "(other)";

/// The counters of one procedure in one instance. Counting takes no lock, except for errors.
#[derive(Debug)]
pub(super) struct Meter {
    started: Counter,
    ended: Counter,
    /// Calls whose time was up before they were run.
    pub(super) expired: Counter,
    /// Runs that were dropped because the caller's time was up.
    pub(super) timed_out: Counter,
    /// Calls that were dropped, running or waiting for their turn, because the caller gave up.
    pub(super) cancelled: Counter,
    /// Runs that were dropped because the service ends.
    pub(super) cut_off: Counter,
    /// Calls that were refused because there was too much to do.
    pub(super) overloaded: Counter,
    /// Calls that got what another had been answered.
    pub(super) replayed: Counter,
    /// Errors that nobody is told of.
    pub(super) unheard: Counter,
    /// Messages that were no calls.
    pub(super) malformed: Counter,
    errors: Mutex<BTreeMap<String, u64>>,
    latencies: Latencies,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            started: Counter::default(),
            ended: Counter::default(),
            expired: Counter::default(),
            timed_out: Counter::default(),
            cancelled: Counter::default(),
            cut_off: Counter::default(),
            overloaded: Counter::default(),
            replayed: Counter::default(),
            unheard: Counter::default(),
            malformed: Counter::default(),
            errors: Mutex::default(),
            latencies: Latencies::new(),
        }
    }

    /// A run begins. It ends when what is returned is dropped, however that comes.
    pub(super) fn start(&self) -> Running<'_> {
        self.started.increment();
        Running(self)
    }

    /// A run took so long, and had an answer.
    pub(super) fn answered(&self, time: Duration, outcome: &Result<Payload, RemoteError>) {
        self.latencies.record(time);
        if let Err(error) = outcome {
            self.failed(error.name());
        }
    }

    fn failed(&self, name: &str) {
        // Nothing panics while it holds the lock, so the map is whole even if the lock says poisoned.
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = errors.get_mut(name) {
            *count += 1;
            return;
        }
        let name = if errors.len() < MOST_NAMES {
            name
        } else {
            OTHER_NAMES
        };
        *errors.entry(name.to_owned()).or_default() += 1;
    }

    /// How many calls came to no ordinary end.
    pub(super) fn counts(&self) -> CallCounts {
        CallCounts {
            expired: self.expired.get(),
            timed_out: self.timed_out.get(),
            cancelled: self.cancelled.get(),
            overloaded: self.overloaded.get(),
            replayed: self.replayed.get(),
            unheard: self.unheard.get(),
        }
    }

    /// The counts so far, of the procedure `uri`.
    pub(super) fn read(&self, uri: &str) -> ProcedureStats {
        // What has ended was started before: read in this order, no less than nothing is in flight.
        let ended = self.ended.get();
        let started = self.started.get();
        let recorded = self.latencies.snapshot();
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ProcedureStats {
            uri: uri.to_owned(),
            calls: started,
            in_flight: started.saturating_sub(ended),
            answered: recorded.count,
            errors,
            expired: self.expired.get(),
            given_up: self.timed_out.get() + self.cancelled.get() + self.cut_off.get(),
            malformed: self.malformed.get(),
            mean_us: recorded.mean_us(),
            p50_us: recorded.quantile_us(0.5),
            p90_us: recorded.quantile_us(0.9),
            p99_us: recorded.quantile_us(0.99),
            max_us: recorded.max_us,
        }
    }
}

/// A run that is under way.
pub(super) struct Running<'a>(&'a Meter);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.ended.increment();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_in_flight_until_it_ends() {
        let meter = Meter::new();
        let (first, second) = (meter.start(), meter.start());
        drop(first);
        let stats = meter.read("net.example.greet");
        assert_eq!((stats.calls, stats.in_flight), (2, 1));
        drop(second);
        assert_eq!(meter.read("net.example.greet").in_flight, 0);
    }

    #[test]
    fn names_without_end_do_not_take_memory_without_end() {
        let meter = Meter::new();
        for number in 0..200 {
            meter.failed(&format!("error_{number}"));
        }
        meter.failed("error_0");
        let errors = meter.read("net.example.greet").errors;
        assert_eq!(errors.len(), MOST_NAMES + 1);
        assert_eq!((errors["error_0"], errors[OTHER_NAMES]), (2, 136));
    }
}
