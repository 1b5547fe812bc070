//! What becomes of events when something goes wrong. Published, handled and dead-lettered numbers add up each time.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use almanet::{
    Broker, BrokerConfig, EventContext, EventRetry, Failure, PushConsumer, Session,
    transport::{ConnectionConfig, NsqTransportConfig},
};
use almanet_tests::{
    TestBroker,
    proxy::{Cut, Proxy},
    unique,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    refusing::Refusing,
    tally::{PATIENCE, Tally},
};

/// A session that reconnects fast, so that tests do not wait.
async fn session(address: &str) -> Session {
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
async fn a_handler_slower_than_the_message_timeout_keeps_its_event() {
    let broker = TestBroker::start().await;
    let session = session(broker.address()).await;
    let topic = unique("test.slow");
    let tally = Tally::default();
    let slow = |channel_tally: &Tally| {
        let tally = channel_tally.clone();
        PushConsumer::new(&topic, "worker", move |context: EventContext, number: u64| {
            let tally = tally.clone();
            // At once, as the test ends with the first attempts. A panic would only be another failed attempt.
            if context.attempt() > 1 {
                tally.add(1000 + number);
            }
            async move {
                tokio::time::sleep(Duration::from_millis(3500)).await;
                tally.add(number);
            }
        })
        .message_timeout(Duration::from_secs(1))
    };
    let _one = slow(&tally).start(&session).await.unwrap();
    let _two = slow(&tally).start(&session).await.unwrap();
    for number in 0..4 {
        session.produce(&topic, &number).await.unwrap();
    }
    let seen = tally.distinct(4).await;
    let expected = (0..4).map(|number| (number, 1)).collect();
    assert_eq!(seen, expected, "an event was given to another meanwhile");
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
    publishing.produce(&topic, &7).await.unwrap();
    worked.notified().await;
    let open = proxy.counts().open;
    proxy.cut(Cut::Reset);
    proxy.accepted(open + 1).await;
    go_on.notify_one();
    // The duplicate: the work was done, but the broker could not know.
    tally.until(|seen| seen[&7] == 2).await;

    publishing.produce(&topic, &8).await.unwrap();
    tally.distinct(2).await;
    assert_eq!(tally.now()[&7], 2, "once acknowledged it came again");
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
    let tally = Tally::default();
    let consumer = PushConsumer::new("orders", "worker", {
        let tally = tally.clone();
        move |_: EventContext, number: u64| {
            let tally = tally.clone();
            async move {
                tally.add(number);
                match number {
                    7 => Err(Failure::permanent("seven")),
                    8 => Err(Failure::retry("eight")),
                    _ => Ok(()),
                }
            }
        }
    });
    let _running = consumer
        .max_attempts(2)
        .retry(EventRetry::fixed(Duration::from_millis(5)))
        .start(&session)
        .await
        .unwrap();
    for number in 0..10 {
        session.produce("orders", &number).await.unwrap();
    }
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
    let seen = tally.now();
    assert_eq!(seen[&8], 2, "it was handled more often than it may be");
    assert!(
        (0..10)
            .filter(|number| !numbers.contains(number))
            .all(|number| seen[&number] == 1)
    );
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
    let held = Arc::new(tokio::sync::Semaphore::new(0));
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
    for number in 0..EVENTS {
        living.produce(&topic, &number).await.unwrap();
    }
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
    assert_eq!(u64::from(tally.total()), EVENTS);
    if !is_nsqd {
        assert!(waited < Duration::from_millis(1500), "{waited:?}");
    }
    drop(stuck);
}

#[tokio::test]
async fn a_consumer_that_stalls_does_not_hold_up_the_other() {
    const EVENTS: u64 = 500;
    let broker = TestBroker::start().await;
    let session = session(broker.address()).await;
    let topic = unique("test.stall");
    let (tally, release) = (Tally::default(), Arc::new(Notify::new()));
    let stalled = Tally::default();
    let stalling = PushConsumer::new(&topic, "worker", {
        let (tally, release, stalled) = (tally.clone(), Arc::clone(&release), stalled.clone());
        move |_: EventContext, number: u64| {
            let (tally, release, stalled) = (tally.clone(), Arc::clone(&release), stalled.clone());
            async move {
                stalled.add(number);
                release.notified().await;
                tally.add(number);
            }
        }
    });
    let _stalling = stalling.concurrency(4).start(&session).await.unwrap();
    let _working = counting(&topic, &tally).start(&session).await.unwrap();
    for number in 0..EVENTS {
        session.produce(&topic, &number).await.unwrap();
    }
    // It holds what it may hold at once, and no more.
    tally.distinct(EVENTS as usize - 4).await;
    assert!(stalled.total() <= 4);
    for _ in 0..4 {
        release.notify_one();
        let rest = tally.now().len();
        if rest == EVENTS as usize {
            break;
        }
        tally.distinct(rest + 1).await;
    }
    tally.distinct(EVENTS as usize).await;
    assert_eq!(u64::from(tally.total()), EVENTS);
}

#[tokio::test]
async fn a_broker_that_restarts_in_the_middle_of_a_batch_is_found_again_and_says_what_it_lost() {
    let config = |address: &str| BrokerConfig::default().tcp_address(address.parse().unwrap());
    let broker = Broker::start(config("127.0.0.1:0")).await.unwrap();
    let address = broker.tcp_addr().to_string();
    let session = session(&address).await;
    let (orders, invoices) = (unique("t.orders"), unique("t.invoices"));
    let mut source = session.consume_topic::<u64>(&orders, "billing").await.unwrap();
    for number in 0..5 {
        session.produce(&orders, &number).await.unwrap();
    }
    let taken = source.recv_batch(5, PATIENCE).await.unwrap();
    let mut batch = session.batch();
    for order in taken.values() {
        batch.produce(&invoices, order).unwrap();
    }
    batch.ack_all(taken);
    broker.stop().await.unwrap();
    let broker = Broker::start(config(&address)).await.unwrap();
    // The connection comes back within the publish's patience: all that the batch publishes is there, once or twice.
    batch.commit().await.unwrap();
    let mut billed = session.consume_topic::<u64>(&invoices, "test").await.unwrap();
    let mut numbers = BTreeSet::new();
    while numbers.len() < 5 {
        let invoice = timeout(PATIENCE, billed.recv()).await.unwrap().unwrap().unwrap();
        numbers.insert(*invoice);
        invoice.ack().unwrap();
    }
    // The embedded broker keeps messages in memory only, so the orders are not delivered again; new ones are.
    session.produce(&orders, &5).await.unwrap();
    let order = timeout(PATIENCE, source.recv()).await.unwrap().unwrap().unwrap();
    assert_eq!(*order, 5);
    order.ack().unwrap();
    broker.stop().await.unwrap();
}
