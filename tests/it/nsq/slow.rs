//! Peers that are slow, and networks.

use std::time::Duration;

use almanet_nsq::{Producer, ProducerConfig};
use almanet_tests::{
    TestBroker,
    proxy::{Direction, Proxy},
};
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{MAX_IN_FLIGHT, consumer, load::Load, next, producer, quick, soon, unique_topic};

#[tokio::test]
async fn a_network_that_brings_a_byte_at_a_time_brings_everything_once() {
    const MESSAGES: usize = 50;
    let broker = TestBroker::start().await;
    let topic = unique_topic();
    let proxy = Proxy::to(broker.address()).await;
    for direction in Direction::BOTH {
        proxy.chunk(direction, 1);
    }
    let mut consumer = consumer([proxy.address()], &topic).await;
    let producer = producer(proxy.address()).await;
    let publishes =
        (0..MESSAGES).map(|number| producer.publish(&topic, Bytes::from(format!("number {number:02}"))));
    for outcome in soon(join_all(publishes)).await {
        outcome.unwrap();
    }
    let mut bodies = Vec::new();
    for _ in 0..MESSAGES {
        let delivery = next(&mut consumer).await;
        bodies.push(delivery.body().to_vec());
        delivery.finish().unwrap();
    }
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), MESSAGES);
    assert_eq!(proxy.counts().accepted, 2, "a connection was lost");
}

#[tokio::test]
async fn publishes_to_a_broker_that_does_not_read_wait_and_then_arrive() {
    const MESSAGES: usize = 48;
    const SIZE: usize = 512 * 1024;
    let broker = TestBroker::start().await;
    let topic = unique_topic();
    let proxy = Proxy::to(broker.address()).await;
    let config = ProducerConfig::default()
        .connection(quick())
        .max_queued_bytes(4 * 1024 * 1024);
    let producer = soon(Producer::connect(proxy.address(), config)).await.unwrap();
    let mut consumer = consumer([broker.address().to_owned()], &topic).await;
    proxy.stall(Direction::ToBroker);
    let publishes = (0..MESSAGES).map(|number| {
        let (producer, topic) = (&producer, &topic);
        async move {
            let mut body = number.to_string().into_bytes();
            body.resize(SIZE, b' ');
            producer.publish(topic, Bytes::from(body)).await
        }
    });
    let mut publishing = std::pin::pin!(join_all(publishes));
    // Long enough to show that they wait; that none of them fails meanwhile is seen in the end.
    let waited = timeout(Duration::from_millis(200), &mut publishing).await;
    assert!(waited.is_err(), "they were confirmed by nobody");
    proxy.resume();
    let receiving = async {
        let mut seen = [false; MESSAGES];
        for _ in 0..MESSAGES {
            let delivery = next(&mut consumer).await;
            let number: usize = std::str::from_utf8(delivery.body())
                .unwrap()
                .trim()
                .parse()
                .unwrap();
            assert!(!seen[number], "{number} came twice");
            seen[number] = true;
            delivery.finish().unwrap();
        }
    };
    let (outcomes, ()) = soon(async { tokio::join!(publishing, receiving) }).await;
    for outcome in outcomes {
        outcome.unwrap();
    }
    assert_eq!(proxy.counts().accepted, 1, "the connection was lost");
}

#[tokio::test]
async fn a_consumer_that_does_not_read_holds_nobody_else_up() {
    let broker = TestBroker::start().await;
    let proxy = Proxy::to(broker.address()).await;
    let mut load = Load::new(unique_topic());
    load.consume(consumer([proxy.address()], &load.topic).await);
    load.publish(producer(broker.address()).await);
    load.goes_on(100).await;

    proxy.stall(Direction::ToClient);
    load.consume(consumer([broker.address().to_owned()], &load.topic).await);
    // Many more than the first may hold.
    load.goes_on(20 * MAX_IN_FLIGHT as u64).await;
    proxy.resume();
    // What it held is taken up again, by either.
    let balance = load.settle().await;
    // The broker gives what waits too long out again, perhaps to the same consumer.
    balance.check("a consumer that does not read", 4 * MAX_IN_FLIGHT, 0);
}
