//! Events reach every channel, are answered, and come again when they are not.

use std::time::Duration;

use almanet::{Codec, Event, Session, testing::MemoryBroker};
use almanet_tests::{TestBroker, unique};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::tally::PATIENCE;

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
#[event(topic = "almanet.test.joined")]
struct UserJoined {
    name: String,
}

#[tokio::test]
async fn an_event_reaches_each_channel_once() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    // The topic is the type's own, so on a shared nsqd the channels are what tells this run from others.
    let (mailer, auditor) = (unique("mailer"), unique("auditor"));
    let mut mailer = session
        .consume::<UserJoined>(format!("{mailer}#ephemeral"))
        .await
        .unwrap();
    let mut auditor = session
        .consume::<UserJoined>(format!("{auditor}#ephemeral"))
        .await
        .unwrap();

    let name = unique("user");
    session.emit(&UserJoined { name: name.clone() }).await.unwrap();
    for consumer in [&mut mailer, &mut auditor] {
        let event = consumer.recv().await.unwrap().unwrap();
        assert_eq!((event.name.as_str(), event.attempts()), (name.as_str(), 1));
        event.ack().unwrap();
    }
}

#[tokio::test]
async fn an_event_that_is_not_acknowledged_comes_again() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.orders");
    let mut orders = session.consume_topic::<u32>(&topic, "worker").await.unwrap();
    session.produce(&topic, &7).await.unwrap();

    let dropped = orders.recv().await.unwrap().unwrap();
    assert_eq!(dropped.attempts(), 1);
    drop(dropped);

    let refused = orders.recv().await.unwrap().unwrap();
    assert_eq!((*refused, refused.attempts()), (7, 2));
    refused.nack(Duration::from_millis(10)).unwrap();

    let taken = orders.recv().await.unwrap().unwrap();
    assert_eq!((*taken, taken.attempts()), (7, 3));
    taken.ack().unwrap();

    session.produce(&topic, &8).await.unwrap();
    let next = orders.recv().await.unwrap().unwrap();
    assert_eq!(
        (*next, next.attempts()),
        (8, 1),
        "an acknowledged event came again"
    );
    next.ack().unwrap();
}

#[tokio::test]
async fn a_consumer_reads_both_codecs() {
    let broker = TestBroker::start().await;
    let json = broker.session_with(|builder| builder.codec(Codec::Json)).await;
    let packed = broker
        .session_with(|builder| builder.codec(Codec::MessagePack))
        .await;
    let topic = unique("test.names");
    let mut names = json.consume_topic::<String>(&topic, "worker").await.unwrap();

    for session in [&json, &packed] {
        session.produce(&topic, "Aidar").await.unwrap();
        let name = names.recv().await.unwrap().unwrap();
        assert_eq!(*name, "Aidar");
        name.ack().unwrap();
    }
}

#[tokio::test]
async fn a_message_of_another_type_is_shown_and_can_be_discarded() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.numbers");
    let mut numbers = session.consume_topic::<u32>(&topic, "worker").await.unwrap();
    session.produce(&topic, "seven").await.unwrap();

    let wrong = numbers.recv().await.unwrap().unwrap_err();
    assert_eq!(
        wrong.to_string(),
        format!("a message on {topic} is not of the type that is consumed")
    );
    let source = std::error::Error::source(&wrong).unwrap().to_string();
    assert!(source.contains("\"seven\""), "{source}");
    assert_eq!(&wrong.delivery().body[..], b"\xa5seven");
    wrong.discard().unwrap();

    session.produce(&topic, &7).await.unwrap();
    let number = numbers.recv().await.unwrap().unwrap();
    assert_eq!(*number, 7);
    number.ack().unwrap();
}

#[tokio::test]
async fn what_a_closed_consumer_had_not_handed_out_goes_to_the_next() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.orders");
    let mut first = session.consume_topic::<u32>(&topic, "worker").await.unwrap();
    for number in 0..10 {
        session.produce(&topic, &number).await.unwrap();
    }
    first.recv().await.unwrap().unwrap().ack().unwrap();
    first.close().await;

    let mut second = session.consume_topic::<u32>(&topic, "worker").await.unwrap();
    let mut rest = Vec::new();
    while rest.len() < 9 {
        let order = second.recv().await.unwrap().unwrap();
        rest.push(*order);
        order.ack().unwrap();
    }
    rest.sort_unstable();
    rest.dedup();
    assert_eq!(rest.len(), 9, "{rest:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_touched_stays_and_one_that_is_not_goes_to_another() {
    let session = Session::builder()
        .transport(MemoryBroker::new().transport())
        .connect()
        .await
        .unwrap();
    let timeout = Duration::from_secs(10);
    let consume = || {
        session
            .consume_topic::<u32>("orders", "worker")
            .message_timeout(timeout)
    };
    let (mut holding, mut other) = (consume().await.unwrap(), consume().await.unwrap());
    session.produce("orders", &7).await.unwrap();
    let held = holding.recv().await.unwrap().unwrap();
    for _ in 0..5 {
        assert!(
            other.recv_timeout(timeout * 9 / 10).await.is_none(),
            "it was taken away"
        );
        held.touch().unwrap();
    }
    let start = Instant::now();
    let taken = other.recv().await.unwrap().unwrap();
    assert_eq!((taken.attempts(), start.elapsed()), (2, timeout));
    // Whoever let it pass hears that it is too late.
    held.ack().unwrap_err();
    taken.ack().unwrap();
}

#[tokio::test]
async fn an_event_that_is_touched_stays_over_a_broker() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (topic, timeout) = (unique("test.orders"), Duration::from_secs(2));
    let consume = session.consume_topic::<u32>(&topic, "worker");
    let mut orders = consume.message_timeout(timeout).await.unwrap();
    session.produce(&topic, &7).await.unwrap();
    let held = orders.recv_timeout(PATIENCE).await.unwrap().unwrap();
    for _ in 0..4 {
        let again = orders.recv_timeout(timeout / 2).await;
        assert!(again.is_none(), "it was taken away");
        held.touch().unwrap();
    }
    let start = Instant::now();
    let again = orders.recv_timeout(PATIENCE).await.unwrap().unwrap();
    let passed = start.elapsed();
    assert_eq!((*again, again.attempts()), (7, 2));
    assert!(passed + Duration::from_millis(50) >= timeout, "{passed:?}");
    again.ack().unwrap();
    // It is too late, so nothing comes of it.
    drop(held);
    session.produce(&topic, &8).await.unwrap();
    let next = orders.recv_timeout(PATIENCE).await.unwrap().unwrap();
    assert_eq!((*next, next.attempts()), (8, 1));
    next.ack().unwrap();
}
