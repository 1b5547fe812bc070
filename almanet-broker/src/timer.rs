//! Wakes topics when one of their messages times out or becomes due.

use std::{collections::BTreeMap, sync::Weak, time::Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{registry::Registry, step::Step, topic::Topic};

/// The alarms of all topics, at most one for each.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    alarms: Mutex<BTreeMap<(Instant, u64), Weak<Topic>>>,
    earlier: Notify,
}

impl Timer {
    /// Sets the alarm of the topic with this number to `at`, in place of the one at `previous`.
    pub(crate) fn set(&self, number: u64, previous: Option<Instant>, at: Instant, topic: &Weak<Topic>) {
        let mut alarms = self.alarms.lock();
        if let Some(previous) = previous {
            alarms.remove(&(previous, number));
        }
        let is_first = alarms.first_key_value().is_none_or(|(first, _)| at < first.0);
        alarms.insert((at, number), Weak::clone(topic));
        drop(alarms);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Takes back the alarm at `at`.
    pub(crate) fn clear(&self, number: u64, at: Instant) {
        self.alarms.lock().remove(&(at, number));
    }

    /// When the first alarm rings.
    #[cfg(test)]
    pub(crate) fn next(&self) -> Option<Instant> {
        self.alarms.lock().first_key_value().map(|(first, _)| first.0)
    }

    /// Takes out the topics whose alarm is due; says when the next one is.
    fn take_due(&self, now: Instant) -> (Vec<Weak<Topic>>, Option<Instant>) {
        let mut alarms = self.alarms.lock();
        let later = alarms.split_off(&(now, u64::MAX));
        let next = later.first_key_value().map(|(first, _)| first.0);
        let due = std::mem::replace(&mut *alarms, later);
        (due.into_values().collect(), next)
    }
}

/// Rings the alarms that are due; says when the next one of the others is.
pub(crate) fn ring(registry: &Registry, step: &mut Step) -> Option<Instant> {
    let (due, next) = registry.timer().take_due(step.now);
    for topic in due.iter().filter_map(Weak::upgrade) {
        if topic.ring(step).is_gone() {
            registry.forget(&topic);
        }
    }
    next
}

/// Rings the alarms of `registry` until `stopped`.
pub(crate) async fn run(registry: &Registry, stopped: &CancellationToken) {
    let timer = registry.timer();
    loop {
        let mut step = Step::begin();
        let next = ring(registry, &mut step);
        step.end();
        let next_alarm = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stopped.cancelled() => return,
            () = timer.earlier.notified() => {}
            () = next_alarm => {}
        }
    }
}
