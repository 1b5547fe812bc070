//! What becomes of events when something goes wrong. The books balance each time: what was published and confirmed was handled
//! or is a dead letter. What is slow is in [`super::slow`], and what restarts in [`super::restart`].

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use almanet::{
    EventContext, EventRetry, Failure, PushConsumer, Session,
    transport::{ConnectionConfig, NsqTransportConfig},
};
use almanet_tests::{
    TestBroker,
    proxy::{Cut, Proxy},
    unique,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout},
};

use super::{
    books::Books,
    refusing::Refusing,
    tally::{PATIENCE, Tally},
};

/// A session that reconnects fast, so that tests do not wait.
pub(super) async fn session(address: &str) -> Session {
    let connection =
        ConnectionConfig::default().reconnect_delay(Duration::from_millis(1)..=Duration::from_millis(20));
    Session::builder()
        .addresses(address)
        .nsq(NsqTransportConfig::default().connection(connection))
        .connect()
        .await
        .unwrap()
}

/// A consumer that counts.
fn counting(topic: &str, tally: &Tally) -> PushConsumer {
    let tally = tally.clone();
    PushConsumer::new(topic, "worker", move |_: EventContext, number: u64| {
        let tally = tally.clone();
        async move { tally.add(number) }
    })
}

#[tokio::test]
async fn work_that_was_done_and_not_acknowledged_is_done_again() {
    let broker = TestBroker::start().await;
    let proxy = Proxy::to(broker.address()).await;
    let (publishing, consuming) = (session(broker.address()).await, session(&proxy.address()).await);
    let topic = unique("test.crash");
    let tally = Tally::default();
    let (worked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let consumer = PushConsumer::new(&topic, "worker", {
        let (tally, worked, go_on) = (tally.clone(), Arc::clone(&worked), Arc::clone(&go_on));
        move |context: EventContext, number: u64| {
            let (tally, worked, go_on) = (tally.clone(), Arc::clone(&worked), Arc::clone(&go_on));
            async move {
                tally.add(number);
                if context.attempt() == 1 {
                    worked.notify_one();
                    go_on.notified().await;
                }
            }
        }
    });
    let _running = consumer
        .message_timeout(Duration::from_secs(1))
        .start(&consuming)
        .await
        .unwrap();
    let mut books = Books::of(&topic);
    books.publish(&publishing, [7]).await;
    worked.notified().await;
    let open = proxy.counts().open;
    proxy.cut(Cut::Reset);
    proxy.accepted(open + 1).await;
    go_on.notify_one();
    // The duplicate: the work was done, but the broker could not know.
    tally.until(|seen| seen[&7] == 2).await;

    books.publish(&publishing, [8]).await;
    tally.distinct(2).await;
    assert_eq!(tally.now()[&7], 2, "once acknowledged it came again");
    let balance = books.balance(&publishing, &tally).await;
    assert_eq!((balance.handled, balance.again, balance.dead_lettered), (2, 1, 0));
}

#[tokio::test]
async fn nothing_is_finished_before_its_dead_letter_is_confirmed() {
    let transport = Refusing::new(".dlq");
    let session = Session::builder()
        .transport(transport.clone())
        .connect()
        .await
        .unwrap();
    let mut dead = session.consume_topic::<u64>("orders.dlq", "test").await.unwrap();
    let (tally, handled) = (Tally::default(), Tally::default());
    let consumer = PushConsumer::new("orders", "worker", {
        let (tally, handled) = (tally.clone(), handled.clone());
        move |_: EventContext, number: u64| {
            let (tally, handled) = (tally.clone(), handled.clone());
            async move {
                tally.add(number);
                match number {
                    7 => return Err(Failure::permanent("seven")),
                    8 => return Err(Failure::retry("eight")),
                    _ => handled.add(number),
                }
                Ok(())
            }
        }
    });
    let _running = consumer
        .max_attempts(2)
        .retry(EventRetry::fixed(Duration::from_millis(5)))
        .start(&session)
        .await
        .unwrap();
    let mut books = Books::of("orders");
    books.publish(&session, 0..10).await;
    tally.distinct(10).await;
    transport.refused(6).await;
    assert!(dead.try_recv().is_none());

    transport.relent();
    let mut numbers = BTreeSet::new();
    for _ in 0..2 {
        let letter = timeout(PATIENCE, dead.recv()).await.unwrap().unwrap().unwrap();
        assert!(numbers.insert(*letter), "{} is there twice", *letter);
        letter.ack().unwrap();
    }
    assert_eq!(numbers, BTreeSet::from([7, 8]));
    assert_eq!(tally.now()[&8], 2, "it was handled more often than it may be");
    let balance = books.balance(&session, &handled).await;
    assert_eq!((balance.handled, balance.again, balance.dead_lettered), (8, 0, 2));
}

#[tokio::test]
async fn a_consumer_that_dies_with_a_full_window_loses_nothing() {
    const EVENTS: u64 = 200;
    // nsqd gives the messages of a lost connection out again only after their timeout.
    let is_nsqd = std::env::var("ALMANET_TEST_NSQD").is_ok();
    let broker = TestBroker::start().await;
    let proxy = Proxy::to(broker.address()).await;
    let (living, dying) = (session(broker.address()).await, session(&proxy.address()).await);
    let topic = unique("test.window");
    let held = Arc::new(Semaphore::new(0));
    let stuck = PushConsumer::new(&topic, "worker", {
        let held = Arc::clone(&held);
        move |_: EventContext, _: u64| {
            held.add_permits(1);
            std::future::pending::<()>()
        }
    });
    let stuck = stuck
        .concurrency(50)
        .message_timeout(Duration::from_secs(2))
        .start(&dying)
        .await
        .unwrap();
    let mut books = Books::of(&topic);
    books.publish(&living, 0..EVENTS).await;
    let _ = timeout(PATIENCE, held.acquire_many(50)).await.unwrap().unwrap();
    proxy.refuse(true);
    proxy.cut(Cut::Reset);
    proxy.open(0).await;
    let died = Instant::now();

    let tally = Tally::default();
    let _running = counting(&topic, &tally).start(&living).await.unwrap();
    tally.distinct(EVENTS as usize).await;
    let waited = died.elapsed();
    println!("all {EVENTS} were handled {waited:?} after the consumer died");
    match is_nsqd {
        true => assert!(waited > Duration::from_secs(1), "{waited:?}"),
        false => assert!(waited < Duration::from_millis(1500), "{waited:?}"),
    }
    let balance = books.balance(&living, &tally).await;
    assert_eq!((balance.handled, balance.again), (EVENTS as usize, 0));
    drop(stuck);
}

#[tokio::test]
async fn a_consumer_that_stalls_does_not_hold_up_the_other() {
    const EVENTS: u64 = 500;
    const HELD: u64 = 4;
    let broker = TestBroker::start().await;
    let session = session(broker.address()).await;
    let topic = unique("test.stall");
    let (handled, stalled, released) = (Tally::default(), Tally::default(), Arc::new(Semaphore::new(0)));
    let stalling = PushConsumer::new(&topic, "worker", {
        let (handled, stalled, released) = (handled.clone(), stalled.clone(), Arc::clone(&released));
        move |_: EventContext, number: u64| {
            stalled.add(number);
            let (handled, released) = (handled.clone(), Arc::clone(&released));
            async move {
                released.acquire().await.unwrap().forget();
                handled.add(number);
            }
        }
    });
    let _stalling = stalling.concurrency(HELD as usize).start(&session).await.unwrap();
    let mut books = Books::of(&topic);
    books.publish(&session, 0..HELD).await;
    // They are all its own before there is anybody else.
    stalled.distinct(HELD as usize).await;
    let _working = counting(&topic, &handled).start(&session).await.unwrap();
    books.publish(&session, HELD..EVENTS).await;

    handled.distinct((EVENTS - HELD) as usize).await;
    let seen = |tally: &Tally| tally.now().into_keys().collect::<Vec<_>>();
    assert_eq!(seen(&handled), (HELD..EVENTS).collect::<Vec<_>>());
    assert_eq!(
        seen(&stalled),
        (0..HELD).collect::<Vec<_>>(),
        "it took more than it may hold"
    );
    released.add_permits(HELD as usize);
    handled.distinct(EVENTS as usize).await;
    assert_eq!(u64::from(stalled.total()), HELD);
    let balance = books.balance(&session, &handled).await;
    assert_eq!((balance.handled, balance.again), (EVENTS as usize, 0));
}

#[tokio::test]
async fn good_events_flow_on_among_poison() {
    const EVENTS: u64 = 200;
    let broker = TestBroker::start().await;
    let session = session(broker.address()).await;
    let topic = unique("test.poison");
    let (handled, attempts) = (Tally::default(), Tally::default());
    let consumer = PushConsumer::new(&topic, "worker", {
        let (handled, attempts) = (handled.clone(), attempts.clone());
        move |_: EventContext, number: u64| {
            let (handled, attempts) = (handled.clone(), attempts.clone());
            async move {
                attempts.add(number);
                match number % 20 {
                    0 => return Err(Failure::permanent("poison")),
                    1 => return Err(Failure::retry("slow poison")),
                    _ => handled.add(number),
                }
                Ok(())
            }
        }
    });
    let _running = consumer
        .concurrency(2)
        .max_attempts(3)
        .retry(EventRetry::fixed(Duration::from_millis(400)))
        .start(&session)
        .await
        .unwrap();
    let mut books = Books::of(&topic);
    books.publish(&session, 0..EVENTS).await;
    handled.distinct(180).await;
    // Good ones did not wait for the bad: those that are tried again have not had their last attempt.
    let seen = attempts.now();
    assert!(
        (0..EVENTS).step_by(20).all(|number| seen[&(number + 1)] < 3),
        "{seen:?}"
    );
    let mut dead = session
        .consume_topic::<u64>(format!("{topic}.dlq"), "almanet")
        .await
        .unwrap();
    let mut letters = Vec::new();
    while letters.len() < 20 {
        let letter = timeout(PATIENCE, dead.recv()).await.unwrap().unwrap().unwrap();
        letters.push(*letter);
        letter.ack().unwrap();
    }
    let balance = books.balance_with(handled.now(), letters);
    assert_eq!(
        (balance.handled, balance.again, balance.dead_lettered),
        (180, 0, 20)
    );
    assert_eq!(attempts.total(), 180 + 10 + 3 * 10);
}
