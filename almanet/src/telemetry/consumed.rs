//! What becomes of the events that a consumer gets: counted in this process, for whoever asks how it does, and with the
//! feature `metrics` for whoever collects metrics.

use std::{fmt, sync::Arc};

use almanet_nsq::TopicName;
use tokio::time::Instant;

use super::{Counter, Latencies};
use crate::introspect::ConsumerStats;

/// Each of the first attempts is timed. Then, of those that end at once, one of so many stands for all: to read the clock
/// would cost more than all other counting.
const ALL_TIMED: u64 = 1024;
const ONE_OF: u64 = 16;

/// What becomes of the events that a consumer gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It was acknowledged.
    Ok,
    /// It failed, or was refused by its consumer, and comes again.
    Retried,
    /// It was put aside.
    DeadLetter,
    /// It could not be put aside, and comes again.
    NotPutAside,
    /// It was no event, and was taken away.
    Discarded,
    /// It was dropped unanswered, and comes again: its handler was cut off, or its consumer let it go.
    Dropped,
}

impl Answered {
    const ALL: [Self; 6] = [
        Self::Ok,
        Self::Retried,
        Self::DeadLetter,
        Self::NotPutAside,
        Self::Discarded,
        Self::Dropped,
    ];

    #[cfg(feature = "metrics")]
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retried => "retried",
            Self::DeadLetter => "dead_letter",
            Self::NotPutAside => "not_put_aside",
            Self::Discarded => "discarded",
            Self::Dropped => "dropped",
        }
    }
}

/// The meter of one consumer. Counting takes no lock.
#[derive(Debug)]
pub(crate) struct Consumed {
    came: Counter,
    not_yet: Counter,
    outcomes: [Outcome; Answered::ALL.len()],
    latencies: Latencies,
    #[cfg(feature = "metrics")]
    channel: Arc<str>,
}

/// How often the same has become of an event.
struct Outcome {
    answered: Answered,
    counter: Counter,
    /// That of a single topic, looked up once. With a pattern of topics, each topic has its own.
    #[cfg(feature = "metrics")]
    metric: Option<metrics::Counter>,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outcome")
            .field(&self.answered)
            .field(&self.counter)
            .finish()
    }
}

impl Consumed {
    /// That of the consumer of `topic`, or of many topics, on `channel`.
    #[cfg_attr(
        not(feature = "metrics"),
        allow(unused_variables, reason = "only metrics need them")
    )]
    pub(crate) fn on(topic: Option<&TopicName>, channel: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            came: Counter::default(),
            not_yet: Counter::default(),
            outcomes: Answered::ALL.map(|answered| Outcome {
                answered,
                counter: Counter::default(),
                #[cfg(feature = "metrics")]
                metric: topic.map(|topic| metric(topic, &channel, answered)),
            }),
            latencies: Latencies::new(),
            #[cfg(feature = "metrics")]
            channel,
        })
    }

    /// An event, which may be of a `topic` of its own, to be counted when it is answered.
    #[cfg_attr(
        not(feature = "metrics"),
        allow(unused_variables, reason = "only metrics need it")
    )]
    pub(crate) fn count(self: &Arc<Self>, topic: Option<&Arc<TopicName>>) -> Counted {
        Counted {
            number: self.came.number(),
            consumer: Some(Arc::clone(self)),
            #[cfg(feature = "metrics")]
            topic: topic.cloned(),
        }
    }

    /// An attempt at an event came to an end of its own.
    pub(crate) fn attempted(&self, timing: Timing) {
        if let Some(begun) = timing.begun {
            self.latencies.record_several(begun.elapsed(), timing.stands_for);
        }
    }

    /// The counts so far, of the consumer of `topic` on `channel`.
    pub(crate) fn read(&self, topic: &str, channel: &str) -> ConsumerStats {
        // What has ended came before: read in this order, no less than nothing is in flight.
        let [ok, retried, dead_letter, not_put_aside, discarded, dropped] =
            self.outcomes.each_ref().map(|outcome| outcome.counter.get());
        let not_yet = self.not_yet.get();
        let received = self.came.get().saturating_sub(not_yet);
        let ended = ok + retried + dead_letter + not_put_aside + discarded + dropped;
        let recorded = self.latencies.snapshot();
        ConsumerStats {
            topic: topic.to_owned(),
            channel: channel.to_owned(),
            received,
            in_flight: received.saturating_sub(ended),
            ok,
            retried,
            dead_letter,
            not_put_aside,
            dropped,
            mean_us: recorded.mean_us(),
            p50_us: recorded.quantile_us(0.5),
            p90_us: recorded.quantile_us(0.9),
            p99_us: recorded.quantile_us(0.99),
            max_us: recorded.max_us,
        }
    }

    #[cfg_attr(
        not(feature = "metrics"),
        allow(unused_variables, reason = "only metrics need it")
    )]
    fn add(&self, answered: Answered, topic: Option<&TopicName>) {
        let Some(outcome) = self.outcomes.iter().find(|outcome| outcome.answered == answered) else {
            return;
        };
        outcome.counter.increment();
        #[cfg(feature = "metrics")]
        match (&outcome.metric, topic) {
            (Some(metric), _) => metric.increment(1),
            (None, Some(topic)) => metric(topic, &self.channel, answered).increment(1),
            (None, None) => {}
        }
    }
}

#[cfg(feature = "metrics")]
fn metric(topic: &TopicName, channel: &Arc<str>, answered: Answered) -> metrics::Counter {
    let (topic, channel) = (topic.as_str().to_owned(), Arc::clone(channel));
    let outcome = answered.as_str();
    metrics::counter!("almanet_consumed_total", "topic" => topic, "channel" => channel, "outcome" => outcome)
}

/// An event that is counted once, by what becomes of it; dropped before, as one that was dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    /// How many came before.
    number: u64,
    consumer: Option<Arc<Consumed>>,
    #[cfg(feature = "metrics")]
    topic: Option<Arc<TopicName>>,
}

/// How long an attempt at an event takes, if that is to be known.
#[derive(Debug)]
pub(crate) struct Timing {
    begun: Option<Instant>,
    stands_for: u64,
}

impl Timing {
    /// The attempt does not end at once, so it stands for itself.
    pub(crate) fn waits(&mut self) {
        self.begun.get_or_insert_with(Instant::now);
        self.stands_for = 1;
    }
}

impl Counted {
    /// An attempt at it begins.
    pub(crate) fn begin(&self) -> Timing {
        let (timed, stands_for) = match self.number < ALL_TIMED {
            true => (true, 1),
            false => (self.number.is_multiple_of(ONE_OF), ONE_OF),
        };
        Timing {
            begun: timed.then(Instant::now),
            stands_for,
        }
    }

    /// This has become of it.
    pub(crate) fn answered(mut self, answered: Answered) {
        self.add(answered);
    }

    /// It was not yet due, and does not count.
    pub(crate) fn not_yet(mut self) {
        if let Some(consumer) = self.consumer.take() {
            consumer.not_yet.increment();
        }
    }

    fn add(&mut self, answered: Answered) {
        let Some(consumer) = self.consumer.take() else {
            return;
        };
        #[cfg(feature = "metrics")]
        consumer.add(answered, self.topic.as_deref());
        #[cfg(not(feature = "metrics"))]
        consumer.add(answered, None);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.add(Answered::Dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_in_flight_until_something_has_become_of_it() {
        let topic = TopicName::new("net.example.joined").unwrap();
        let meter = Consumed::on(Some(&topic), "mailer".into());
        let read = || meter.read("net.example.joined", "mailer");
        let [acknowledged, dropped, early, open] = [(); 4].map(|()| meter.count(None));
        assert_eq!((read().received, read().in_flight), (4, 4));
        early.not_yet();
        assert_eq!((read().received, read().in_flight), (3, 3));
        acknowledged.answered(Answered::Ok);
        drop(dropped);
        assert_eq!((read().ok, read().dropped, read().in_flight), (1, 1, 1));
        for answered in Answered::ALL {
            meter.count(None).answered(answered);
        }
        let stats = read();
        assert_eq!((stats.received, stats.in_flight), (9, 1));
        assert_eq!(
            (
                stats.ok,
                stats.retried,
                stats.dead_letter,
                stats.not_put_aside,
                stats.dropped
            ),
            (2, 1, 1, 1, 2)
        );
        drop(open);
        assert_eq!(read().in_flight, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_attempts_some_are_timed_for_all_and_each_that_waits_for_itself() {
        let meter = Consumed::on(None, "mailer".into());
        let second = std::time::Duration::from_secs(1);
        let all = ALL_TIMED + 100 * ONE_OF;
        for number in 0..all {
            let event = meter.count(None);
            let mut timing = event.begin();
            if number % 5 == 3 {
                timing.waits();
                tokio::time::advance(second).await;
            }
            meter.attempted(timing);
            event.answered(Answered::Ok);
        }
        let recorded = meter.latencies.snapshot();
        assert_eq!(recorded.count, all);
        assert_eq!(recorded.quantile_us(0.79), 0);
        assert_eq!(recorded.quantile_us(0.81), 1_000_000);
    }
}
