//! Handlers that are slower than the message timeout, or keep their thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use almanet::{EventContext, PushConsumer, Session, testing::MemoryBroker};
use almanet_tests::{TestBroker, unique};
use tokio::time::Instant;

use super::{books::Books, tally::Tally};

const EVENTS: u64 = 4;

/// Two consumers whose handlers take `time`; an event that is taken from one of them is given to the other.
async fn keep_their_events(session: &Session, topic: &str, message_timeout: Duration, time: Duration) {
    let (handled, taken_away) = (Tally::default(), Tally::default());
    let slow = || {
        let (handled, taken_away) = (handled.clone(), taken_away.clone());
        let consumer = PushConsumer::new(topic, "worker", move |context: EventContext, number: u64| {
            let (handled, taken_away) = (handled.clone(), taken_away.clone());
            // At once, as the test ends with the first attempts.
            if context.attempt() > 1 {
                taken_away.add(number);
            }
            async move {
                tokio::time::sleep(time).await;
                handled.add(number);
            }
        });
        consumer.message_timeout(message_timeout).start(session)
    };
    let _running = (slow().await.unwrap(), slow().await.unwrap());
    let mut books = Books::of(topic);
    books.publish(session, 0..EVENTS).await;
    handled.distinct(EVENTS as usize).await;
    let balance = books.balance(session, &handled).await;
    assert_eq!((balance.handled, balance.again), (EVENTS as usize, 0));
    assert!(
        taken_away.now().is_empty(),
        "{taken_away:?} were given to another meanwhile"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_slower_than_the_message_timeout_keeps_its_event() {
    let session = Session::builder()
        .transport(MemoryBroker::new().transport())
        .connect()
        .await
        .unwrap();
    let start = Instant::now();
    let timeout = Duration::from_secs(2);
    keep_their_events(&session, "slow", timeout, 10 * timeout).await;
    assert!(start.elapsed() >= 10 * timeout);
}

/// The same as far as brokers go: it takes more than the shortest message timeout that nsqd grants.
#[tokio::test]
async fn brokers_leave_an_event_with_a_handler_that_touches_it() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let timeout = Duration::from_secs(1);
    keep_their_events(&session, &unique("test.slow"), timeout, timeout * 3 / 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn handlers_that_keep_their_thread_come_to_run_side_by_side() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.busy");
    let (tally, at_work) = (Tally::default(), Arc::new(AtomicUsize::new(0)));
    let most = Arc::new(AtomicUsize::new(0));
    let consumer = PushConsumer::new(&topic, "worker", {
        let (tally, most) = (tally.clone(), Arc::clone(&most));
        move |_: EventContext, number: u64| {
            let (tally, at_work, most) = (tally.clone(), Arc::clone(&at_work), Arc::clone(&most));
            async move {
                most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(2));
                at_work.fetch_sub(1, Ordering::SeqCst);
                tally.add(number);
            }
        }
    });
    let running = consumer.concurrency(2).start(&session).await.unwrap();
    for number in 0..200 {
        session.produce(&topic, &number).await.unwrap();
    }
    tally.distinct(200).await;
    running.stop().await;
    assert_eq!((tally.total(), most.load(Ordering::SeqCst)), (200, 2));
}
