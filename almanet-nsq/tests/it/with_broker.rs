//! Against a real broker: an embedded one, or the nsqd whose address is in `ALMANET_TEST_NSQD`.

use std::time::Duration;

use almanet_broker::{Broker, BrokerConfig};
use almanet_nsq::{
    Compression, ConnectError, ConnectionConfig, Consumer, ConsumerConfig, DeflateLevel, Delivery, ErrorCode,
    Producer, ProducerConfig, PublishError, TopicName,
};
use bytes::Bytes;
use futures_util::future::join_all;

use crate::peer::{body, channel, quick, soon, topic};

/// A broker, and where it is.
struct Node {
    address: String,
    _embedded: Option<Broker>,
}

impl std::ops::Deref for Node {
    type Target = str;

    fn deref(&self) -> &str {
        &self.address
    }
}

async fn node() -> Node {
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
fn unique_topic() -> TopicName {
    topic(&format!("test_{:016x}#ephemeral", fastrand::u64(..)))
}

async fn producer(node: &str) -> Producer {
    let config = ProducerConfig::default().connection(quick());
    soon(Producer::connect(node, config)).await.unwrap()
}

async fn consumer(node: &str, topic: &TopicName, max_in_flight: usize) -> Consumer {
    let config = ConsumerConfig::default()
        .connection(quick())
        .max_in_flight(max_in_flight)
        .backoff(None)
        .msg_timeout(Duration::from_secs(5));
    let connecting = Consumer::connect([node], topic.clone(), channel("test#ephemeral"), config);
    soon(connecting).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Delivery {
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
async fn a_consumer_that_stalls_leaves_the_messages_to_the_other() {
    let node = node().await;
    const COUNT: usize = 2000;
    let topic = unique_topic();
    let _stalled = consumer(&node, &topic, 256).await;
    let mut other = consumer(&node, &topic, 256).await;
    let producer = producer(&node).await;
    let publishes =
        join_all((0..COUNT).map(|number| producer.publish(&topic, Bytes::from(number.to_string()))));
    let receiving = async {
        for _ in 0..COUNT - 16 {
            next(&mut other).await.finish().unwrap();
        }
    };
    let (published, ()) = tokio::join!(soon(publishes), receiving);
    assert!(published.iter().all(Result::is_ok));
}

#[tokio::test]
async fn backing_off_ends_when_messages_are_finished_again() {
    let node = node().await;
    let topic = unique_topic();
    let config = ConsumerConfig::default()
        .connection(quick())
        .backoff(Duration::from_millis(20)..=Duration::from_millis(100));
    let connecting = Consumer::connect([&*node], topic.clone(), channel("c#ephemeral"), config);
    let mut consumer = soon(connecting).await.unwrap();
    let producer = producer(&node).await;
    let bodies = (0..200).map(|number| Bytes::from(format!("{number}"))).collect();
    soon(producer.publish_many(&topic, bodies)).await.unwrap();
    let (mut failures, mut finished) = (0, 0);
    while finished < 200 {
        let delivery = next(&mut consumer).await;
        if failures < 20 {
            failures += 1;
            delivery.requeue(Duration::ZERO).unwrap();
        } else {
            finished += 1;
            delivery.finish().unwrap();
        }
    }
    consumer.close().await;
}

#[tokio::test]
async fn what_is_given_up_is_confirmed_elsewhere_before_it_is_finished() {
    let node = node().await;
    let (topic, dead) = (unique_topic(), unique_topic());
    let producer = producer(&node).await;
    let mut dead_letters = consumer(&node, &dead, 16).await;
    let config = {
        let (producer, dead) = (producer.clone(), dead.clone());
        ConsumerConfig::default()
            .connection(quick())
            .backoff(None)
            .max_attempts(2)
            .on_give_up(move |delivery| {
                let (producer, dead) = (producer.clone(), dead.clone());
                async move {
                    producer.publish(&dead, delivery.body().clone()).await.unwrap();
                    delivery.finish().unwrap();
                }
            })
    };
    let connecting = Consumer::connect([&*node], topic.clone(), channel("c#ephemeral"), config);
    let mut consumer = soon(connecting).await.unwrap();
    for (number, is_poison) in [(0, false), (1, true), (2, false)] {
        let body = if is_poison { "poison" } else { "good" };
        let body = Bytes::from(format!("{body} {number}"));
        soon(producer.publish(&topic, body)).await.unwrap();
    }
    let (mut good, mut poison) = (0, 0);
    while good < 2 || poison < 2 {
        let delivery = next(&mut consumer).await;
        if delivery.body().starts_with(b"poison") {
            poison += 1;
            delivery.requeue(Duration::ZERO).unwrap();
        } else {
            good += 1;
            delivery.finish().unwrap();
        }
    }
    let letter = next(&mut dead_letters).await;
    assert_eq!(&letter.body()[..], b"poison 1");
    letter.finish().unwrap();
    consumer.close().await;
}

#[tokio::test]
async fn a_message_that_is_touched_automatically_is_delivered_once() {
    let node = node().await;
    let topic = unique_topic();
    let config = ConsumerConfig::default()
        .connection(quick())
        .msg_timeout(Duration::from_secs(1))
        .auto_touch(Duration::from_secs(60));
    let connecting = Consumer::connect([&*node], topic.clone(), channel("c#ephemeral"), config);
    let mut consumer = soon(connecting).await.unwrap();
    let producer = producer(&node).await;
    soon(producer.publish(&topic, body("x"))).await.unwrap();
    let held = next(&mut consumer).await;
    soon(tokio::time::timeout(Duration::from_millis(2500), consumer.recv()))
        .await
        .unwrap_err();
    held.finish().unwrap();
}

#[tokio::test]
async fn what_is_too_large_for_one_consumer_goes_to_another() {
    let node = node().await;
    let topic = unique_topic();
    let connect = |max_message_size| {
        let config = ConsumerConfig::default().connection(quick().max_message_size(max_message_size));
        Consumer::connect([&*node], topic.clone(), channel("c#ephemeral"), config)
    };
    let mut small = soon(connect(1000)).await.unwrap();
    let producer = producer(&node).await;
    let large = Bytes::from(vec![b'x'; 500_000]);
    soon(producer.publish(&topic, large.clone())).await.unwrap();
    soon(producer.publish(&topic, body("small"))).await.unwrap();
    let delivery = next(&mut small).await;
    assert_eq!(&delivery.body()[..], b"small");
    delivery.finish().unwrap();
    let mut other = soon(connect(1_000_000)).await.unwrap();
    soon(small.close()).await;
    let delivery = next(&mut other).await;
    assert_eq!(delivery.body(), &large);
    assert!(delivery.attempts() > 1);
    delivery.finish().unwrap();
}

#[tokio::test]
async fn a_consumer_of_one_message_at_a_time_reads_several_nodes() {
    let (one, two) = (node().await, node().await);
    let topic = unique_topic();
    if *one == *two {
        return;
    }
    let config = ConsumerConfig::default()
        .connection(quick())
        .max_in_flight(1)
        .low_rdy_timeout(Duration::from_millis(20));
    let connecting = Consumer::connect([&*one, &*two], topic.clone(), channel("c#ephemeral"), config);
    let mut consumer = soon(connecting).await.unwrap();
    for node in [&one, &two] {
        let producer = producer(node).await;
        let bodies = (0..20).map(|number| Bytes::from(format!("{number}"))).collect();
        soon(producer.publish_many(&topic, bodies)).await.unwrap();
    }
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..40 {
        let delivery = next(&mut consumer).await;
        *counts.entry(delivery.node().to_string()).or_insert(0) += 1;
        delivery.finish().unwrap();
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [20, 20]);
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
        let producer = match soon(Producer::connect(&*node, config)).await {
            Ok(producer) => producer,
            // The embedded broker does not compress.
            Err(ConnectError::NotGranted { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
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
