//! A service that ends while handlers of events take longer than its grace.

use std::{future::pending, time::Duration};

use almanet::{EventContext, PushConsumer, Service, Session, testing::MemoryBroker};
use tokio::{sync::mpsc, time::Instant};

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
