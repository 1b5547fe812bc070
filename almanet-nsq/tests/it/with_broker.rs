//! Against a real broker: an embedded one, or the nsqd whose address is in `ALMANET_TEST_NSQD`.

use std::time::Duration;

use almanet_broker::{Broker, BrokerConfig};
use almanet_nsq::{
    Compression, ConnectionConfig, Consumer, ConsumerConfig, DeflateLevel, Delivery, ErrorCode, Producer,
    ProducerConfig, PublishError, TopicName,
};
use bytes::Bytes;
use futures_util::future::join_all;

use crate::peer::{body, channel, quick, soon, topic};

/// A broker, and where it is.
pub(crate) struct Node {
    address: String,
    _embedded: Option<Broker>,
}

impl std::ops::Deref for Node {
    type Target = str;

    fn deref(&self) -> &str {
        &self.address
    }
}

pub(crate) async fn node() -> Node {
    match std::env::var("ALMANET_TEST_NSQD") {
        Ok(address) => Node {
            address,
            _embedded: None,
        },
        Err(_) => {
            let broker = Broker::start(BrokerConfig::default()).await.unwrap();
            Node {
                address: broker.tcp_addr().to_string(),
                _embedded: Some(broker),
            }
        }
    }
}

/// A topic that no other run uses, and that the broker forgets.
pub(crate) fn unique_topic() -> TopicName {
    topic(&format!("test_{:016x}#ephemeral", fastrand::u64(..)))
}

pub(crate) async fn producer(node: &str) -> Producer {
    let config = ProducerConfig::default().connection(quick());
    soon(Producer::connect(node, config)).await.unwrap()
}

pub(crate) async fn consumer(node: &str, topic: &TopicName, max_in_flight: usize) -> Consumer {
    let config = ConsumerConfig::default()
        .connection(quick())
        .max_in_flight(max_in_flight)
        .backoff(None)
        .msg_timeout(Duration::from_secs(5));
    let connecting = Consumer::connect([node], topic.clone(), channel("test#ephemeral"), config);
    soon(connecting).await.unwrap()
}

pub(crate) async fn next(consumer: &mut Consumer) -> Delivery {
    soon(consumer.recv()).await.unwrap()
}

#[tokio::test]
async fn what_is_published_is_delivered_once_each() {
    let node = node().await;
    const COUNT: usize = 10_000;
    let topic = unique_topic();
    let mut consumer = consumer(&node, &topic, 256).await;
    let producer = producer(&node).await;
    let publishes =
        join_all((0..COUNT).map(|number| producer.publish(&topic, Bytes::from(number.to_string()))));
    let receiving = async {
        let mut seen = vec![false; COUNT];
        for _ in 0..COUNT {
            let delivery = next(&mut consumer).await;
            let number: usize = std::str::from_utf8(delivery.body()).unwrap().parse().unwrap();
            let seen = seen.get_mut(number).unwrap();
            assert!(!*seen, "{number} came twice");
            *seen = true;
            delivery.finish().unwrap();
        }
    };
    let (published, ()) = tokio::join!(soon(publishes), receiving);
    assert!(published.iter().all(Result::is_ok));
    consumer.close().await;
    producer.close().await;
}

#[tokio::test]
async fn several_and_deferred_messages_arrive() {
    let node = node().await;
    let topic = unique_topic();
    let mut consumer = consumer(&node, &topic, 16).await;
    let producer = producer(&node).await;
    let delay = Duration::from_millis(200);
    let begun = std::time::Instant::now();
    soon(producer.publish_after(&topic, delay, body("later")))
        .await
        .unwrap();
    soon(producer.publish_many(&topic, vec![body("a"), body("b")]))
        .await
        .unwrap();
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let delivery = next(&mut consumer).await;
        if &delivery.body()[..] == b"later" {
            assert!(begun.elapsed() >= delay);
        }
        bodies.push(delivery.body().clone());
        delivery.finish().unwrap();
    }
    bodies.sort();
    assert_eq!(bodies, ["a", "b", "later"]);
}

#[tokio::test]
async fn a_requeued_or_dropped_message_comes_again_at_once() {
    let node = node().await;
    let topic = unique_topic();
    let mut consumer = consumer(&node, &topic, 1).await;
    let producer = producer(&node).await;
    soon(producer.publish(&topic, body("x"))).await.unwrap();
    let first = next(&mut consumer).await;
    assert_eq!(first.attempts(), 1);
    assert_eq!(first.msg_timeout(), Duration::from_secs(5));
    let begun = std::time::Instant::now();
    drop(first);
    let second = next(&mut consumer).await;
    assert_eq!(second.attempts(), 2);
    second.requeue(Duration::ZERO).unwrap();
    let third = next(&mut consumer).await;
    assert_eq!(third.attempts(), 3);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "it came only after its timeout"
    );
    third.touch().unwrap();
    third.finish().unwrap();
}

#[tokio::test]
async fn what_a_closing_consumer_was_sent_goes_to_the_next_one_at_once() {
    let node = node().await;
    let topic = unique_topic();
    let mut leaving = consumer(&node, &topic, 10).await;
    let producer = producer(&node).await;
    let bodies = (0..10).map(|number| Bytes::from(format!("{number}"))).collect();
    soon(producer.publish_many(&topic, bodies)).await.unwrap();
    let handled = next(&mut leaving).await;

    let mut staying = consumer(&node, &topic, 10).await;
    let begun = std::time::Instant::now();
    let closing = soon(leaving.close());
    let receiving = async {
        for _ in 0..9 {
            next(&mut staying).await.finish().unwrap();
        }
        handled.finish().unwrap();
    };
    tokio::join!(closing, receiving);
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "they came only after their timeout"
    );
    assert!(staying.try_recv().is_none());
}

#[tokio::test]
async fn a_message_that_only_the_broker_finds_too_large_is_refused_with_its_words() {
    let node = node().await;
    let topic = unique_topic();
    let connection = quick().max_message_size(64 * 1024 * 1024);
    let config = ProducerConfig::default().connection(connection);
    let producer = soon(Producer::connect(&*node, config)).await.unwrap();
    let too_long = Duration::from_secs(30 * 24 * 60 * 60);
    let refused = soon(producer.publish_after(&topic, too_long, body("x"))).await;
    let Err(PublishError::Refused { cause, .. }) = refused else {
        panic!("{refused:?} is not Refused");
    };
    assert_eq!(cause.code, ErrorCode::Invalid);
    soon(producer.publish(&topic, body("small"))).await.unwrap();
}

#[tokio::test]
async fn a_connection_lives_through_its_heartbeats() {
    let node = node().await;
    let topic = unique_topic();
    let connection = ConnectionConfig::default().heartbeat_interval(Duration::from_secs(1));
    let config = ConsumerConfig::default().connection(connection);
    let connecting = Consumer::connect([&*node], topic.clone(), channel("c#ephemeral"), config);
    let mut consumer = soon(connecting).await.unwrap();
    let producer = producer(&node).await;
    // Longer than the two intervals after which either side gives a silent peer up.
    let delay = Duration::from_millis(2500);
    soon(producer.publish_after(&topic, delay, body("x")))
        .await
        .unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.attempts(), 1);
    delivery.finish().unwrap();
}

#[tokio::test]
async fn compressed_messages_come_at_once() {
    let node = node().await;
    for compression in [Compression::Snappy, Compression::Deflate(DeflateLevel::default())] {
        let connection = quick().compression(compression);
        let config = ProducerConfig::default().connection(connection.clone());
        let producer = soon(Producer::connect(&*node, config)).await.unwrap();
        let topic = unique_topic();
        let config = ConsumerConfig::default().connection(connection);
        let connecting = Consumer::connect([&*node], topic.clone(), channel("c#ephemeral"), config);
        let mut consumer = soon(connecting).await.unwrap();
        for body in [
            body("small"),
            Bytes::from(vec![b'x'; 1024 * 1024]),
            body("small again"),
        ] {
            soon(producer.publish(&topic, body.clone())).await.unwrap();
            // What nothing flushed would come with the next heartbeat, after 30 s.
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.body(), &body);
            delivery.finish().unwrap();
        }
    }
}
