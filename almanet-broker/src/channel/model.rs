//! Random operations: whatever happens, each message is in exactly one place, and none is lost.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::{tests::Recorder, *};

const TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(25);
const SUBSCRIBERS: u64 = 4;

#[derive(Debug, Clone)]
enum Operation {
    Publish,
    Defer {
        seconds: u64,
    },
    Subscribe {
        subscriber: u64,
        is_full: bool,
    },
    Unsubscribe {
        subscriber: u64,
    },
    Ready {
        subscriber: u64,
        count: u64,
    },
    Close {
        subscriber: u64,
    },
    Resume {
        subscriber: u64,
    },
    Finish {
        subscriber: u64,
        message: u64,
    },
    Requeue {
        subscriber: u64,
        message: u64,
        seconds: u64,
    },
    Touch {
        subscriber: u64,
        message: u64,
    },
    Pass {
        seconds: u64,
    },
    Pause,
    Unpause,
    Empty,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let subscriber = || 0..SUBSCRIBERS;
    let message = || 0..20u64;
    prop_oneof![
        4 => Just(Publish),
        1 => (0..20u64).prop_map(|seconds| Defer { seconds }),
        2 => (subscriber(), proptest::bool::weighted(0.1))
            .prop_map(|(subscriber, is_full)| Subscribe { subscriber, is_full }),
        1 => subscriber().prop_map(|subscriber| Unsubscribe { subscriber }),
        3 => (subscriber(), 0..4u64).prop_map(|(subscriber, count)| Ready { subscriber, count }),
        1 => subscriber().prop_map(|subscriber| Close { subscriber }),
        1 => subscriber().prop_map(|subscriber| Resume { subscriber }),
        4 => (subscriber(), message()).prop_map(|(subscriber, message)| Finish { subscriber, message }),
        2 => (subscriber(), message(), 0..3u64)
            .prop_map(|(subscriber, message, seconds)| Requeue { subscriber, message, seconds }),
        2 => (subscriber(), message()).prop_map(|(subscriber, message)| Touch { subscriber, message }),
        2 => (0..15u64).prop_map(|seconds| Pass { seconds }),
        1 => Just(Pause),
        2 => Just(Unpause),
        1 => Just(Empty),
    ]
}

/// A channel under random operations, and which messages must still be in it.
struct Run {
    channel: Channel<Recorder>,
    memory: Arc<Memory>,
    now: Instant,
    published: u64,
    finished: u64,
    attempts: BTreeMap<MessageId, u16>,
    ready: BTreeMap<u64, u64>,
}

impl Run {
    fn new() -> Self {
        let memory = Arc::new(Memory::new(usize::MAX));
        Self {
            channel: Channel::new(&memory, LONGEST),
            memory,
            now: Instant::now(),
            published: 0,
            finished: 0,
            attempts: BTreeMap::new(),
            ready: BTreeMap::new(),
        }
    }

    fn apply(&mut self, operation: Operation) {
        let now = self.now;
        let mut deliveries = Vec::new();
        let was_paused = self.channel.paused;
        let channel = &mut self.channel;
        match operation {
            Operation::Publish => {
                channel.publish(tests::message(self.published), now, &mut deliveries);
                self.published += 1;
            }
            Operation::Defer { seconds } => {
                channel.defer(tests::message(self.published), now + Duration::from_secs(seconds));
                self.published += 1;
            }
            Operation::Subscribe { subscriber, is_full } => {
                // A connection subscribes once.
                if let std::collections::btree_map::Entry::Vacant(entry) = self.ready.entry(subscriber) {
                    entry.insert(0);
                    let id = SubscriberId(subscriber);
                    let answer = if is_full { Offer::Full } else { Offer::Taken };
                    channel.subscribe(id, Subscriber::new(Recorder { id, answer }, TIMEOUT));
                }
            }
            Operation::Unsubscribe { subscriber } => {
                self.ready.remove(&subscriber);
                channel.unsubscribe(SubscriberId(subscriber), now, &mut deliveries);
            }
            Operation::Ready { subscriber, count } => {
                if let Some(ready) = self.ready.get_mut(&subscriber) {
                    *ready = count.max(*ready);
                }
                channel.ready(SubscriberId(subscriber), count, now, &mut deliveries);
            }
            Operation::Close { subscriber } => channel.close(SubscriberId(subscriber)),
            Operation::Resume { subscriber } => {
                channel.resume(SubscriberId(subscriber), now, &mut deliveries);
            }
            Operation::Finish { subscriber, message } => {
                let id = MessageId::from_number(message);
                if channel
                    .finish(SubscriberId(subscriber), &id, now, &mut deliveries)
                    .is_ok()
                {
                    self.finished += 1;
                }
            }
            Operation::Requeue {
                subscriber,
                message,
                seconds,
            } => {
                let (id, delay) = (MessageId::from_number(message), Duration::from_secs(seconds));
                let _ = channel.requeue(SubscriberId(subscriber), &id, delay, now, &mut deliveries);
            }
            Operation::Touch { subscriber, message } => {
                let _ = channel.touch(SubscriberId(subscriber), &MessageId::from_number(message), now);
            }
            Operation::Pass { seconds } => {
                let earliest = channel.earliest();
                let (waiting, in_flight) = (channel.depth(), channel.in_flight.iter().count());
                self.now += Duration::from_secs(seconds);
                channel.expire(self.now, &mut deliveries);
                if earliest.is_none_or(|earliest| earliest > self.now) {
                    let after = (channel.depth(), channel.in_flight.iter().count());
                    assert_eq!((waiting, in_flight), after, "something happened before the alarm");
                }
            }
            Operation::Pause => channel.pause(),
            Operation::Unpause => channel.unpause(now, &mut deliveries),
            Operation::Empty => {
                // What was there is done with.
                self.finished += (channel.depth() + channel.in_flight.len()) as u64;
                channel.empty();
            }
        }
        assert!(
            !(was_paused && self.channel.paused) || deliveries.is_empty(),
            "a paused channel delivered"
        );
        for (_, id, attempts) in deliveries {
            let before = self.attempts.insert(id, attempts).unwrap_or(0);
            assert_eq!(attempts, before + 1, "attempts of {id}");
        }
    }

    fn check(&self) {
        let channel = &self.channel;
        let mut places: Vec<_> = channel
            .queue
            .iter()
            .chain(channel.deferred.iter())
            .chain(channel.in_flight.iter().map(|(message, _)| message))
            .map(|message| message.id)
            .collect();
        let all = places.len() as u64;
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len() as u64, all, "a message is in two places");
        assert_eq!(all + self.finished, self.published, "a message is lost");

        for (subscriber, most) in &self.ready {
            let held = channel
                .in_flight
                .iter()
                .filter(|(_, owner)| owner.0 == *subscriber)
                .count() as u64;
            assert!(held <= *most, "subscriber {subscriber} has {held} of {most}");
        }
        for (_, owner) in channel.in_flight.iter() {
            assert!(self.ready.contains_key(&owner.0), "the owner is gone");
        }
        assert!(
            channel.paused || channel.queue.is_empty() || channel.rotation.is_empty(),
            "a message waits although a subscriber is ready"
        );
        let mut listed: Vec<_> = channel.rotation.iter().collect();
        listed.sort_unstable();
        listed.dedup();
        assert_eq!(listed.len(), channel.rotation.len(), "listed twice");

        let waiting = channel.queue.iter().chain(channel.deferred.iter());
        assert_eq!(
            self.memory.used(),
            waiting.map(crate::limits::cost).sum::<usize>()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_message_is_in_exactly_one_place(operations in vec(operation(), 1..120)) {
        let mut run = Run::new();
        for operation in operations {
            run.apply(operation);
            run.check();
        }
        // Once everything is due and somebody takes it, everything is delivered.
        let last = SubscriberId(SUBSCRIBERS);
        let recorder = Recorder { id: last, answer: Offer::Taken };
        run.now += Duration::from_secs(100);
        let mut deliveries = Vec::new();
        run.channel.unpause(run.now, &mut deliveries);
        for subscriber in 0..SUBSCRIBERS {
            run.channel.unsubscribe(SubscriberId(subscriber), run.now, &mut deliveries);
        }
        run.channel.subscribe(last, Subscriber::new(recorder, TIMEOUT));
        deliveries.clear();
        run.channel.ready(last, u64::MAX, run.now, &mut deliveries);
        run.channel.expire(run.now, &mut deliveries);
        prop_assert_eq!(deliveries.len() as u64 + run.finished, run.published);
    }
}
