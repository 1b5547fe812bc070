//! How long events wait that have failed.

use std::time::Duration;

use almanet::{EventContext, EventRetry, Failure, PushConsumer, Session, testing::MemoryBroker};
use almanet_tests::{TestBroker, unique};
use tokio::time::Instant;

use super::tally::PATIENCE;

/// A session by a paused clock.
async fn in_memory() -> Session {
    let builder = Session::builder().transport(MemoryBroker::new().transport());
    builder.connect().await.unwrap()
}

/// Fails twice, once by the consumer's policy and once by its own; returns how long it waited each time.
async fn waits(session: &Session, topic: &str, policy: Duration, own: Duration) -> [Duration; 2] {
    let (seen, mut times) = tokio::sync::mpsc::unbounded_channel();
    let consumer = PushConsumer::new(topic, "worker", move |context: EventContext, _: u64| {
        seen.send(Instant::now()).unwrap();
        async move {
            match context.attempt() {
                1 => Err(Failure::retry("by the policy")),
                2 => Err(Failure::retry_after(own, "by the handler")),
                _ => Ok(()),
            }
        }
    });
    let consumer = consumer.retry(EventRetry::fixed(policy));
    let _running = consumer.start(session).await.unwrap();
    session.produce(topic, &7).await.unwrap();
    let mut at = Vec::new();
    for _ in 0..3 {
        at.push(times.recv().await.unwrap());
    }
    [at[1] - at[0], at[2] - at[1]]
}

#[tokio::test(start_paused = true)]
async fn what_fails_waits_as_long_as_it_shall() {
    let session = in_memory().await;
    let (policy, own) = (Duration::from_secs(300), Duration::from_secs(20));
    let waited = waits(&session, "waits", policy, own).await;
    assert_eq!(waited.map(|waited| waited.as_secs()), [300, 20]);
}

/// Brokers are asked for the times in their unit. nsqd looks every 100 ms for what is due, so it may be late.
#[tokio::test]
async fn brokers_hold_what_fails_back_for_as_long() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (policy, own) = (Duration::from_millis(300), Duration::from_millis(150));
    let waited = waits(&session, &unique("test.waits"), policy, own).await;
    let early = Duration::from_millis(5);
    assert!(
        waited[0] + early >= policy && waited[1] + early >= own,
        "{waited:?}"
    );
}

/// What [`super::steps`] shows over brokers, in delays as they are in earnest.
#[tokio::test(start_paused = true)]
async fn a_delay_beyond_the_brokers_longest_is_made_of_several() {
    const LONG: Duration = Duration::from_secs(9000);
    let session = in_memory().await;
    let mut dead = session.consume_topic::<u64>("reports.dlq", "test").await.unwrap();
    let (seen, mut attempts) = tokio::sync::mpsc::unbounded_channel();
    let consumer = PushConsumer::new("reports", "worker", move |context: EventContext, _: u64| {
        seen.send((context.attempt(), Instant::now())).unwrap();
        async { Err::<(), _>(Failure::retry("not yet")) }
    });
    let _running = consumer
        .max_attempts(3)
        .retry(EventRetry::fixed(LONG))
        .start(&session)
        .await
        .unwrap();
    let start = Instant::now();
    session.produce("reports", &7).await.unwrap();
    for expected in 1..=3 {
        let (attempt, at) = attempts.recv().await.unwrap();
        assert_eq!(attempt, expected, "a step counted as an attempt");
        assert_eq!((at - start).as_secs(), LONG.as_secs() * (u64::from(attempt) - 1));
    }
    let letter = dead.recv_timeout(PATIENCE).await.unwrap().unwrap();
    letter.ack().unwrap();
    let letter = session.dead_letters("reports").unwrap().list().await.unwrap();
    assert_eq!(letter[0].attempts(), 3, "a step counted as an attempt");
}

#[tokio::test(start_paused = true)]
async fn delays_double_and_events_that_failed_together_do_not_come_back_together() {
    const EVENTS: usize = 20;
    let session = in_memory().await;
    let (seen, mut attempts) = tokio::sync::mpsc::unbounded_channel();
    let consumer = PushConsumer::new("orders", "worker", move |context: EventContext, number: usize| {
        seen.send((number, context.attempt(), Instant::now())).unwrap();
        async { Err::<(), _>(Failure::retry("not yet")) }
    });
    let (first, longest) = (Duration::from_secs(60), Duration::from_secs(200));
    let _running = consumer
        .max_attempts(5)
        .retry(EventRetry::exponential(first..=longest))
        .start(&session)
        .await
        .unwrap();
    for number in 0..EVENTS {
        session.produce("orders", &number).await.unwrap();
    }
    let mut last = vec![None; EVENTS];
    let mut second_attempts = std::collections::BTreeSet::new();
    for _ in 0..5 * EVENTS {
        let (number, attempt, at) = attempts.recv().await.unwrap();
        if let Some(before) = last[number].replace(at) {
            let whole = [60, 120, 200, 200].map(Duration::from_secs)[attempt as usize - 2];
            let waited: Duration = at - before;
            let early = Duration::from_millis(5);
            assert!(
                (whole / 2..=whole + early).contains(&(waited + early / 2)),
                "attempt {attempt}: {waited:?}"
            );
        }
        if attempt == 2 {
            second_attempts.insert(at);
        }
    }
    assert!(second_attempts.len() > EVENTS / 2, "{second_attempts:?}");
}
