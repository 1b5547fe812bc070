//! What services tell of what has become of events.

use std::{sync::Arc, time::Duration};

use almanet::{ConsumerStats, EventContext, EventRetry, Failure, PushConsumer, Service, Session};
use almanet_tests::{TestBroker, echo, unique};
use tokio::{sync::Notify, time::timeout};

use super::tally::PATIENCE;

const WAITS: u64 = 0;
const FAILS_ONCE: u64 = 1;
const FAILS_FOR_GOOD: u64 = 2;
const PANICS: u64 = 3;
/// What one attempt at `FAILS_ONCE` takes at least.
const SLOW: Duration = Duration::from_millis(20);

/// What the consumer of the service called `name` tells, once it `is_so`.
async fn stats(session: &Session, name: &str, is_so: impl Fn(&ConsumerStats) -> bool) -> ConsumerStats {
    let mut last = ConsumerStats::default();
    let told = timeout(PATIENCE, async {
        loop {
            let mut found = session.introspect().service(name).stats().await.unwrap();
            assert_eq!(found.len(), 1, "{found:?}");
            let mut consumers = found.remove(0).consumers;
            assert_eq!(consumers.len(), 1, "{consumers:?}");
            last = consumers.remove(0);
            if is_so(&last) {
                return;
            }
        }
    });
    let told = told.await;
    assert!(told.is_ok(), "waited in vain for more than {last:?}");
    last
}

#[tokio::test]
async fn what_became_of_the_events_is_counted() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (name, topic) = (unique("counted"), unique("test.counted"));
    let (running, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let consumer = PushConsumer::new(&topic, "worker", {
        let (running, gate) = (Arc::clone(&running), Arc::clone(&gate));
        move |context: EventContext, number: u64| {
            let (running, gate) = (Arc::clone(&running), Arc::clone(&gate));
            async move {
                match number {
                    WAITS => {
                        running.notify_one();
                        gate.notified().await;
                    }
                    FAILS_ONCE if context.attempt() == 1 => {
                        tokio::time::sleep(SLOW).await;
                        return Err(Failure::retry("not yet"));
                    }
                    FAILS_FOR_GOOD => return Err(Failure::permanent("never")),
                    PANICS => panic!("expected"),
                    _ => {}
                }
                Ok(())
            }
        }
    });
    let retry = EventRetry::fixed(Duration::from_millis(5));
    let service = Service::new()
        .name(&name)
        .consumer(consumer.max_attempts(2).retry(retry))
        .procedure(echo(&format!("almanet.test.{name}")))
        .start(&session)
        .await
        .unwrap();
    assert_eq!(stats(&session, &name, |_| true).await, {
        let mut none = ConsumerStats::default();
        none.topic.clone_from(&topic);
        none.channel = "worker".to_owned();
        none
    });

    for number in [WAITS, FAILS_ONCE, FAILS_FOR_GOOD, PANICS, 10, 11] {
        session.produce(&topic, &number).await.unwrap();
    }
    session.produce(&topic, "no number").await.unwrap();
    running.notified().await;
    // Two are delivered twice: one is well the second time, and one is put aside then.
    let counted = stats(&session, &name, |counted| {
        counted.in_flight == 1 && counted.received == 9
    })
    .await;
    assert_eq!((counted.ok, counted.retried, counted.dead_letter), (3, 2, 3));
    assert_eq!((counted.not_put_aside, counted.dropped), (0, 0));
    let slow = SLOW.as_micros() as u64;
    assert!(counted.max_us >= slow && counted.p99_us >= slow, "{counted:?}");
    assert!(
        counted.p50_us < slow && counted.p50_us <= counted.p90_us,
        "{counted:?}"
    );
    assert!(counted.p90_us <= counted.p99_us && counted.p99_us <= counted.max_us);

    gate.notify_one();
    let counted = stats(&session, &name, |counted| counted.in_flight == 0).await;
    assert_eq!((counted.received, counted.ok), (9, 4));

    // Who asks about a procedure hears of that alone.
    let asked = session.introspect().procedure(format!("almanet.test.{name}"));
    let found = asked.stats().await.unwrap();
    assert_eq!((found[0].procedures.len(), found[0].consumers.len()), (1, 0));
    service.stop().await;
}
