//! Functions that are given events.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use almanet::{
    EventContext, EventRetry, Failure, PushConsumer, Reason, Session, StartError, testing::MemoryBroker,
};
use almanet_tests::{TestBroker, unique};
use tokio::{sync::Notify, time::Instant};

use super::tally::{PATIENCE, Tally};

const SOON: Duration = Duration::from_millis(20);

#[tokio::test]
async fn an_event_that_is_handled_is_done_with() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.done");
    let tally = Tally::default();
    let running = PushConsumer::new(&topic, "worker", {
        let tally = tally.clone();
        move |_: EventContext, number: u64| {
            let tally = tally.clone();
            async move { tally.add(number) }
        }
    })
    .start(&session)
    .await
    .unwrap();
    for number in 0..50 {
        session.produce(&topic, &number).await.unwrap();
    }
    tally.distinct(50).await;
    running.stop().await;

    // Whatever had not been acknowledged would come now, before the last.
    session.produce(&topic, &50).await.unwrap();
    let mut rest = session.consume_topic::<u64>(&topic, "worker").await.unwrap();
    let last = rest.recv_timeout(PATIENCE).await.unwrap().unwrap();
    assert_eq!((*last, last.attempts()), (50, 1));
    last.ack().unwrap();
    assert_eq!(tally.total(), 50);
}

#[tokio::test]
async fn an_event_that_fails_is_handled_again_until_it_is_a_dead_letter() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.fails");
    let mut dead = session
        .consume_topic::<u64>(format!("{topic}.dlq"), "test")
        .await
        .unwrap();
    let (attempts, ran) = (Tally::default(), Arc::<Mutex<Vec<SystemTime>>>::default());
    let consumer = PushConsumer::new(&topic, "worker", {
        let (attempts, ran) = (attempts.clone(), Arc::clone(&ran));
        move |context: EventContext, number: u64| {
            attempts.add(u64::from(context.attempt()));
            ran.lock().unwrap().push(SystemTime::now());
            assert_eq!(context.is_last_attempt(), context.attempt() == 3);
            async move { Err::<(), _>(std::io::Error::other(format!("{number} is too much"))) }
        }
    });
    let running = consumer
        .max_attempts(3)
        .retry(EventRetry::fixed(SOON))
        .start(&session)
        .await
        .unwrap();
    let began = SystemTime::now();
    session.produce(&topic, &7).await.unwrap();

    let letter = dead.recv_timeout(PATIENCE).await.unwrap().unwrap();
    assert_eq!(*letter, 7, "the payload of a dead letter is that of the event");
    letter.ack().unwrap();
    dead.close().await;
    assert_eq!(
        attempts.now().into_iter().collect::<Vec<_>>(),
        [(1, 1), (2, 1), (3, 1)]
    );
    running.stop().await;

    let letters = session.dead_letters(&topic).unwrap().list().await.unwrap();
    let [letter] = letters.as_slice() else {
        panic!("{letters:?}")
    };
    assert_eq!(letter.reason(), Reason::Attempts);
    assert_eq!(letter.error(), "7 is too much");
    assert_eq!(letter.attempts(), 3);
    assert_eq!((letter.topic(), letter.channel()), (topic.as_str(), "worker"));
    assert!(!letter.node().is_empty());
    assert_eq!(letter.decode::<u64>().unwrap(), 7);

    let (first_seen, given_up) = (letter.first_seen(), letter.given_up());
    let ran = ran.lock().unwrap().clone();
    let order = [began, first_seen, ran[0], ran[2], given_up, SystemTime::now()];
    // Letters tell their times in whole milliseconds.
    let order = order.map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis());
    assert!(order.is_sorted(), "{order:?}");
    let lived = given_up.duration_since(first_seen).unwrap();
    assert!(lived + Duration::from_millis(2) >= 2 * SOON, "{lived:?}");
}

#[tokio::test]
async fn permanent_errors_panics_timeouts_and_nonsense_go_aside_and_good_events_flow_on() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.poison");
    let mut dead = session
        .consume_topic::<serde_json::Value>(format!("{topic}.dlq"), "count")
        .await
        .unwrap();
    let good = Tally::default();
    let consumer = PushConsumer::new(&topic, "worker", {
        let good = good.clone();
        move |context: EventContext, number: u64| {
            let good = good.clone();
            assert_ne!(number, 1003, "before there is a future");
            async move {
                match number {
                    1000 => return Err(Failure::permanent("never")),
                    1001 => panic!("cannot bear {number}"),
                    1002 => std::future::pending().await,
                    _ => {}
                }
                assert_eq!(context.attempt(), 1);
                good.add(number);
                Ok(())
            }
        }
    });
    let running = consumer
        .concurrency(2)
        .max_attempts(2)
        .retry(EventRetry::fixed(SOON))
        .timeout(Duration::from_millis(50))
        .start(&session)
        .await
        .unwrap();
    for number in 0..100u64 {
        if number % 25 == 0 {
            session.produce(&topic, &(1000 + number / 25)).await.unwrap();
            session.produce(&topic, "no number").await.unwrap();
        }
        session.produce(&topic, &number).await.unwrap();
    }
    good.distinct(100).await;
    assert_eq!(good.total(), 100, "a good event came twice");

    // 1000 to 1003, and four texts.
    for _ in 0..8 {
        dead.recv_timeout(PATIENCE).await.unwrap().unwrap().ack().unwrap();
    }
    running.stop().await;
    let letters = session.dead_letters(&topic).unwrap().list().await.unwrap();
    let mut whys: Vec<_> = letters
        .iter()
        .map(|letter| {
            format!(
                "{} {} {}",
                letter.reason(),
                letter.attempts(),
                letter.error().lines().next().unwrap_or_default()
            )
        })
        .collect();
    whys.sort();
    assert_eq!(
        whys,
        [
            "attempts 2 it took longer than 50ms",
            "attempts 2 the handler panicked: assertion `left != right` failed: before there is a future",
            "attempts 2 the handler panicked: cannot bear 1001",
            "permanent 1 never",
            "undecodable 1 invalid type: string \"no number\", expected u64",
            "undecodable 1 invalid type: string \"no number\", expected u64",
            "undecodable 1 invalid type: string \"no number\", expected u64",
            "undecodable 1 invalid type: string \"no number\", expected u64",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_are_handled_at_once_than_shall_be() {
    let broker = MemoryBroker::new();
    let builder = Session::builder().transport(broker.transport());
    let session = builder.connect().await.unwrap();
    let done = Tally::default();
    let consumer = PushConsumer::new("numbers", "worker", {
        let done = done.clone();
        move |_: EventContext, number: u64| {
            let done = done.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                done.add(number);
            }
        }
    });
    let start = Instant::now();
    let _running = consumer.concurrency(3).start(&session).await.unwrap();
    for number in 0..60 {
        session.produce("numbers", &number).await.unwrap();
    }
    done.distinct(60).await;
    assert_eq!(
        start.elapsed(),
        Duration::from_secs(20),
        "three at once, and no more"
    );
}

#[tokio::test]
async fn stopping_lets_what_runs_end_and_leaves_the_rest_to_others() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.drain");
    let (started, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let done = Tally::default();
    let consumer = PushConsumer::new(&topic, "worker", {
        let (started, release, done) = (Arc::clone(&started), Arc::clone(&release), done.clone());
        move |_: EventContext, number: u64| {
            let (started, release, done) = (Arc::clone(&started), Arc::clone(&release), done.clone());
            async move {
                started.notify_one();
                release.notified().await;
                done.add(number);
            }
        }
    });
    let running = consumer.concurrency(1).start(&session).await.unwrap();
    for number in 0..10 {
        session.produce(&topic, &number).await.unwrap();
    }
    started.notified().await;
    let mut stopping = std::pin::pin!(running.stop());
    assert!(futures_util::poll!(&mut stopping).is_pending());
    release.notify_one();
    stopping.await;
    assert_eq!(done.total(), 1, "one was running");

    let mut rest = session.consume_topic::<u64>(&topic, "worker").await.unwrap();
    let mut left = std::collections::BTreeSet::new();
    while left.len() < 9 {
        let event = rest.recv_timeout(PATIENCE).await.unwrap().unwrap();
        assert!(!done.now().contains_key(&event), "{} was done", *event);
        left.insert(*event);
        event.ack().unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_consumed_is_said_at_the_start() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let consumer = |topic: &str, channel: &str| {
        PushConsumer::new(topic, channel, |_: EventContext, _: u64| async {}).start(&session)
    };
    let error = consumer("bad topic", "worker").await.unwrap_err();
    assert!(
        matches!(&error, StartError::Consume { topic, .. } if topic == "bad topic"),
        "{error}"
    );
    assert_eq!(error.to_string(), "cannot consume bad topic as worker");
    assert!(consumer("good", "bad channel").await.is_err());
    // Its dead letters would have no name.
    let error = consumer(&"a".repeat(61), "worker").await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("has 65 characters"), "{source}");
}
