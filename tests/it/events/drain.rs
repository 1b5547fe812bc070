//! Consumers that end while there are events.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use almanet::{
    EventContext, PushConsumer, Service, Session, testing::MemoryBroker, transport::InProcessTransport,
};
use tokio::{sync::mpsc, time::Instant};

use super::tally::{PATIENCE, Tally};

#[tokio::test(start_paused = true)]
async fn what_runs_beyond_the_grace_is_cut_off_and_goes_to_another() {
    let broker = MemoryBroker::new();
    let connect = || Session::builder().transport(broker.transport()).connect();
    let (ending, going_on) = (connect().await.unwrap(), connect().await.unwrap());
    let (begun, mut begins) = mpsc::unbounded_channel();
    let stuck = PushConsumer::new("orders", "worker", move |context: EventContext, number: u64| {
        begun.send((number, context.cancellation().clone())).unwrap();
        pending::<()>()
    });
    let grace = Duration::from_secs(90);
    let service = Service::new().consumer(stuck.concurrency(1)).grace(grace);
    let running = service.start(&ending).await.unwrap();
    for number in 0..3 {
        ending.produce("orders", &number).await.unwrap();
    }
    let (cut_off, cancelled) = begins.recv().await.unwrap();
    let start = Instant::now();
    let (seen, mut handled) = mpsc::unbounded_channel();
    let other = PushConsumer::new("orders", "worker", move |context: EventContext, number: u64| {
        seen.send((number, context.attempt(), Instant::now())).unwrap();
        async {}
    });
    let stopping = running.stop();
    let (_running, ()) = tokio::join!(
        async {
            let running = other.start(&going_on).await.unwrap();
            // What had not begun is there at once.
            for _ in 0..2 {
                let (number, attempt, at) = handled.recv().await.unwrap();
                assert!(number != cut_off && attempt == 1, "{number}, attempt {attempt}");
                assert_eq!(at - start, Duration::ZERO);
            }
            assert!(!cancelled.is_cancelled());
            running
        },
        stopping
    );
    assert_eq!(start.elapsed(), grace);
    assert!(cancelled.is_cancelled(), "what it had spawned could not know");
    let (number, attempt, at) = handled.recv().await.unwrap();
    assert_eq!((number, attempt, at - start), (cut_off, 2, grace));
    assert!(begins.try_recv().is_err(), "it took another after it was stopped");
}

#[tokio::test]
async fn nothing_that_is_there_already_is_handled_after_a_stop() {
    let session = Session::builder()
        .transport(InProcessTransport::new())
        .connect()
        .await
        .unwrap();
    let (tally, handle) = (Tally::default(), Arc::new(Mutex::new(None)));
    let consumer = PushConsumer::new("test.stops", "worker", {
        let (tally, handle) = (tally.clone(), Arc::clone(&handle));
        move |_: EventContext, number: u64| {
            // Dropped, it stops the consumer.
            drop(handle.lock().unwrap().take());
            tally.add(number);
            std::future::ready(())
        }
    });
    let running = consumer.start(&session).await.unwrap();
    *handle.lock().unwrap() = Some(running);
    let mut batch = session.batch();
    for number in 0..10u64 {
        batch.produce("test.stops", &number).unwrap();
    }
    batch.commit().await.unwrap();
    tally.distinct(1).await;
    let mut rest = session
        .consume_topic::<u64>("test.stops", "worker")
        .await
        .unwrap();
    for _ in 0..9 {
        rest.recv_timeout(PATIENCE).await.unwrap().unwrap().ack().unwrap();
    }
    assert_eq!(tally.total(), 1);
}
