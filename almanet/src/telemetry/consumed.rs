//! Counters of what becomes of the events that a consumer gets.
//!
//! Without the feature `metrics` they are nothing.

use std::sync::Arc;

use almanet_nsq::TopicName;

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
    #[cfg_attr(
        not(feature = "metrics"),
        expect(dead_code, reason = "nobody counts what nobody answers")
    )]
    Dropped,
}

#[cfg(feature = "metrics")]
impl Answered {
    const ALL: [Self; 6] = [
        Self::Ok,
        Self::Retried,
        Self::DeadLetter,
        Self::NotPutAside,
        Self::Discarded,
        Self::Dropped,
    ];

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

/// The counters of one consumer. With a pattern of topics, each topic has its own.
#[derive(Debug)]
pub(crate) struct Consumed {
    #[cfg(feature = "metrics")]
    channel: Arc<str>,
    /// Those of a single topic, looked up once.
    #[cfg(feature = "metrics")]
    counters: Option<Counters>,
}

#[cfg(feature = "metrics")]
struct Counters(Vec<(Answered, metrics::Counter)>);

#[cfg(feature = "metrics")]
impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counters").finish_non_exhaustive()
    }
}

impl Consumed {
    /// Those of the consumer of `topic`, or of many topics, on `channel`.
    #[cfg_attr(
        not(feature = "metrics"),
        allow(unused_variables, reason = "only metrics need them")
    )]
    pub(crate) fn on(topic: Option<&TopicName>, channel: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            #[cfg(feature = "metrics")]
            counters: topic.map(|topic| {
                let counters = Answered::ALL.iter();
                let counters = counters.map(|&answered| (answered, consumed(topic, &channel, answered)));
                Counters(counters.collect())
            }),
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
            #[cfg(feature = "metrics")]
            counted: Some((Arc::clone(self), topic.cloned())),
        }
    }
}

#[cfg(feature = "metrics")]
fn consumed(topic: &TopicName, channel: &Arc<str>, answered: Answered) -> metrics::Counter {
    let (topic, channel) = (topic.as_str().to_owned(), Arc::clone(channel));
    let outcome = answered.as_str();
    metrics::counter!("almanet_consumed_total", "topic" => topic, "channel" => channel, "outcome" => outcome)
}

/// An event that is counted once, by what becomes of it; dropped before, as one that was dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    #[cfg(feature = "metrics")]
    counted: Option<(Arc<Consumed>, Option<Arc<TopicName>>)>,
}

impl Counted {
    /// This has become of it.
    #[cfg_attr(
        not(feature = "metrics"),
        allow(unused_mut, unused_variables, reason = "only metrics need them")
    )]
    pub(crate) fn answered(mut self, answered: Answered) {
        #[cfg(feature = "metrics")]
        self.add(answered);
    }

    /// It was not yet due, and does not count.
    #[cfg_attr(not(feature = "metrics"), allow(unused_mut, reason = "only metrics need it"))]
    pub(crate) fn not_yet(mut self) {
        #[cfg(feature = "metrics")]
        drop(self.counted.take());
    }

    #[cfg(feature = "metrics")]
    fn add(&mut self, answered: Answered) {
        let Some((consumer, topic)) = self.counted.take() else {
            return;
        };
        let known = consumer.counters.iter().flat_map(|counters| &counters.0);
        if let Some((_, counter)) = known.into_iter().find(|(known, _)| *known == answered) {
            counter.increment(1);
        } else if let Some(topic) = topic {
            consumed(&topic, &consumer.channel, answered).increment(1);
        }
    }
}

#[cfg(feature = "metrics")]
impl Drop for Counted {
    fn drop(&mut self) {
        self.add(Answered::Dropped);
    }
}
