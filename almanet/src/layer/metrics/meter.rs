//! What is noted of calls and events.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Instant, SystemTime},
};

use almanet_nsq::TopicName;
use metrics::{Gauge, Histogram, Label, Unit, describe_gauge, describe_histogram, gauge, histogram};

use crate::uri::Uri;

/// The most procedures, or topics and channels, that one layer tells apart. The others are counted together as `other`, so
/// that names that are made while a program runs cannot fill the memory of what collects the metrics.
const MOST_SUBJECTS: usize = 1000;
const OTHER: &str = "other";

/// How long events had waited when they were handled.
const AGE: &str = "almanet_event_age_seconds";

/// What the metrics of one side are called.
#[derive(Debug, Clone, Copy)]
struct Names {
    duration: &'static str,
    doing: &'static str,
}

const HANDLER: Names = Names {
    duration: "almanet_handler_duration_seconds",
    doing: "almanet_handlers_running",
};
const CALL: Names = Names {
    duration: "almanet_call_duration_seconds",
    doing: "almanet_calls_waiting",
};
const EVENT: Names = Names {
    duration: "almanet_event_duration_seconds",
    doing: "almanet_events_running",
};

/// Says what the metrics are.
pub(super) fn describe() {
    for (names, what) in [
        (HANDLER, "handlers of calls that came in"),
        (CALL, "calls that went out"),
        (EVENT, "handlers of events"),
    ] {
        describe_histogram!(names.duration, Unit::Seconds, format!("how long {what} take"));
        describe_gauge!(
            names.doing,
            Unit::Count,
            format!("how many {what} have not ended")
        );
    }
    describe_histogram!(
        AGE,
        Unit::Seconds,
        "how long ago events were published when they are handled"
    );
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// A procedure that is served.
    Handler(Uri),
    /// A procedure that is called.
    Call(Uri),
    /// A topic that is consumed on a channel.
    Consumer(TopicName, Arc<str>),
}

impl Subject {
    fn names(&self) -> Names {
        match self {
            Self::Handler(_) => HANDLER,
            Self::Call(_) => CALL,
            Self::Consumer(..) => EVENT,
        }
    }

    /// The labels by which it is told from others, or those of what is not.
    fn labels(&self, told_apart: bool) -> Vec<Label> {
        let label = |name: &'static str, value: &str| {
            let value = if told_apart { value } else { OTHER };
            Label::new(name, value.to_owned())
        };
        match self {
            Self::Handler(procedure) | Self::Call(procedure) => vec![label("procedure", procedure.as_str())],
            Self::Consumer(topic, channel) => {
                vec![label("topic", topic.as_str()), label("channel", channel)]
            }
        }
    }
}

/// What has been seen, so that its metrics are looked up once.
#[derive(Debug, Default)]
pub(super) struct Known {
    subjects: RwLock<HashMap<Subject, Arc<Meters>>>,
}

impl Known {
    pub(super) fn meters(&self, subject: Subject) -> Arc<Meters> {
        // Nothing panics while it holds the lock, so the map is whole even if the lock says poisoned.
        let known = self.subjects.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(meters) = known.get(&subject) {
            return Arc::clone(meters);
        }
        let full = known.len() >= MOST_SUBJECTS;
        drop(known);
        let meters = Arc::new(Meters::new(&subject, !full));
        if full {
            return meters;
        }
        let mut known = self.subjects.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(subject).or_insert(meters))
    }
}

/// The metrics of one subject.
pub(super) struct Meters {
    names: Names,
    labels: Vec<Label>,
    doing: Gauge,
    ok: Histogram,
    /// Only events have an age.
    age: Option<Histogram>,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters")
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

impl Meters {
    fn new(subject: &Subject, told_apart: bool) -> Self {
        let (names, labels) = (subject.names(), subject.labels(told_apart));
        Self {
            names,
            doing: gauge!(names.doing, labels.clone()),
            ok: duration(names, &labels, "ok"),
            age: match subject {
                Subject::Consumer(..) => Some(histogram!(AGE, labels.clone())),
                Subject::Handler(_) | Subject::Call(_) => None,
            },
            labels,
        }
    }
}

fn duration(names: Names, labels: &[Label], outcome: &'static str) -> Histogram {
    let outcome = Label::from_static_parts("outcome", outcome);
    let labels: Vec<Label> = labels.iter().cloned().chain([outcome]).collect();
    histogram!(names.duration, labels)
}

/// One call or event that is measured; dropped before it has ended, it counts as dropped.
pub(super) struct Measured {
    meters: Arc<Meters>,
    started: Instant,
    outcome: &'static str,
}

impl Measured {
    pub(super) fn begin(meters: Arc<Meters>) -> Self {
        meters.doing.increment(1);
        Self {
            meters,
            started: Instant::now(),
            outcome: "dropped",
        }
    }

    /// Notes how long ago it was published. A clock that is behind the broker's makes that no time.
    pub(super) fn of_age(self, published: SystemTime) -> Self {
        if let Some(age) = &self.meters.age {
            age.record(SystemTime::now().duration_since(published).unwrap_or_default());
        }
        self
    }

    pub(super) fn end(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let Self {
            meters,
            started,
            outcome,
        } = self;
        meters.doing.decrement(1);
        match *outcome {
            "ok" => meters.ok.record(started.elapsed()),
            outcome => duration(meters.names, &meters.labels, outcome).record(started.elapsed()),
        }
    }
}
