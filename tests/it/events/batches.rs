//! Events that are taken together, and events that are published together.

use std::time::Duration;

use almanet::{Session, transport::InProcessTransport};
use almanet_tests::{TestBroker, unique};
use tokio::time::Instant;

use super::{refusing::Refusing, tally::PATIENCE};

async fn in_process() -> Session {
    Session::builder()
        .transport(InProcessTransport::new())
        .connect()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_batch_ends_when_it_is_full_or_its_time_is_up() {
    let session = in_process().await;
    let mut numbers = session.consume_topic::<u64>("numbers", "worker").await.unwrap();
    for number in 0..7 {
        session.produce("numbers", &number).await.unwrap();
    }
    session.produce("numbers", "seven").await.unwrap();
    let start = Instant::now();
    let full = numbers.recv_batch(5, Duration::from_secs(1)).await.unwrap();
    assert_eq!(full.values().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(start.elapsed(), Duration::ZERO, "a full batch waits for nothing");
    full.ack().unwrap();

    let mut partial = numbers.recv_batch(5, Duration::from_secs(1)).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert_eq!(partial.values().copied().collect::<Vec<_>>(), [5, 6]);
    assert_eq!(partial.undecodable.len(), 1);
    numbers
        .dead_letter_undecodable(partial.undecodable.remove(0))
        .await
        .unwrap();
    partial.nack(Duration::from_secs(3)).unwrap();

    let again = numbers.recv_batch(2, Duration::from_secs(1)).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(4));
    assert_eq!(
        again
            .events
            .iter()
            .map(|event| event.attempts())
            .collect::<Vec<_>>(),
        [2, 2]
    );
    drop(again);
    let dropped = numbers.recv_batch(2, Duration::from_secs(1)).await.unwrap();
    assert_eq!(dropped.events[0].attempts(), 3);
    dropped.ack().unwrap();
    assert!(numbers.try_recv().is_none());
}

#[tokio::test]
async fn a_committed_batch_is_published_and_acknowledged() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (orders, invoices, mails) = (unique("t.orders"), unique("t.invoices"), unique("t.mails"));
    let mut source = session.consume_topic::<u64>(&orders, "billing").await.unwrap();
    for number in 0..10 {
        session.produce(&orders, &number).await.unwrap();
    }
    let mut done = 0;
    while done < 10 {
        let taken = source.recv_batch(4, Duration::from_millis(100)).await.unwrap();
        done += taken.events.len();
        let mut batch = session.batch();
        for order in taken.values() {
            batch.produce(&invoices, order).unwrap();
            batch.produce(&mails, &format!("order {order}")).unwrap();
        }
        batch.ack_all(taken);
        batch.commit().await.unwrap();
    }
    source.close().await;

    let mut billed = session.consume_topic::<u64>(&invoices, "test").await.unwrap();
    let mut sent = session.consume_topic::<String>(&mails, "test").await.unwrap();
    let mut numbers = Vec::new();
    for _ in 0..10 {
        let invoice = billed.recv_timeout(PATIENCE).await.unwrap().unwrap();
        numbers.push(*invoice);
        invoice.ack().unwrap();
        sent.recv_timeout(PATIENCE).await.unwrap().unwrap().ack().unwrap();
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    // Whatever had not been acknowledged would come before this one.
    session.produce(&orders, &10).await.unwrap();
    let mut source = session.consume_topic::<u64>(&orders, "billing").await.unwrap();
    let last = source.recv_timeout(PATIENCE).await.unwrap().unwrap();
    assert_eq!((*last, last.attempts()), (10, 1));
    last.ack().unwrap();
}

#[tokio::test]
async fn a_batch_that_is_refused_or_aborted_acknowledges_nothing() {
    let transport = Refusing::new("second");
    let session = Session::builder()
        .transport(transport.clone())
        .connect()
        .await
        .unwrap();
    let mut source = session.consume_topic::<u64>("source", "worker").await.unwrap();
    session.produce("source", &7).await.unwrap();

    let mut aborted = session.batch();
    aborted.produce("first", &7).unwrap();
    aborted.ack(source.recv_timeout(PATIENCE).await.unwrap().unwrap());
    aborted.abort();

    let event = source.recv_timeout(PATIENCE).await.unwrap().unwrap();
    assert_eq!(event.attempts(), 2);
    let mut refused = session.batch();
    refused.produce("first", &*event).unwrap();
    refused.produce("second", &*event).unwrap();
    refused.ack(event);
    let error = refused.commit().await.unwrap_err();
    assert_eq!((error.topic.as_str(), error.published), ("second", 1));

    transport.relent();
    let event = source.recv_timeout(PATIENCE).await.unwrap().unwrap();
    assert_eq!(event.attempts(), 3, "it was acknowledged without its messages");
    let mut batch = session.batch();
    batch.produce("first", &*event).unwrap();
    batch.produce("second", &*event).unwrap();
    batch.ack(event);
    batch.commit().await.unwrap();
    assert!(source.try_recv().is_none());

    // What the refused batch had published stays, as its documentation says: the duplicate is seen.
    for (topic, count) in [("first", 2), ("second", 1)] {
        let mut consumer = session.consume_topic::<u64>(topic, "test").await.unwrap();
        for _ in 0..count {
            consumer.try_recv().unwrap().unwrap().ack().unwrap();
        }
        assert!(consumer.try_recv().is_none(), "{topic}");
    }
}
