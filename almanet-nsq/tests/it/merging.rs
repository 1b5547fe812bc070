use std::time::Duration;

use almanet_broker::{Broker, BrokerConfig};
use almanet_nsq::{
    Consumer, ConsumerConfig, ErrorCode, Producer, ProducerPool, ProducerPoolConfig, PublishError, TopicName,
};
use almanet_nsq_proto::Command;
use bytes::Bytes;
use futures_util::future::join_all;

use crate::{
    peer::{Peer, body, channel, quick, soon, topic},
    publishing::{config, connected},
};

#[tokio::test]
async fn publishes_to_one_topic_that_are_queued_together_leave_as_one_command() {
    let peer = Peer::bind().await;
    let (producer, mut broker) = connected(&peer, config()).await;
    let (orders, invoices) = (topic("orders"), topic("invoices"));
    let mpub = |topic: &TopicName, bodies: &[&'static str]| Command::Mpub {
        topic: topic.clone(),
        bodies: bodies.iter().copied().map(body).collect(),
    };
    let publishes = join_all([
        producer.publish(&orders, body("a")),
        producer.publish(&invoices, body("b")),
        producer.publish(&orders, body("c")),
        producer.publish(&invoices, body("d")),
    ]);
    let confirming = async {
        broker.expect(mpub(&orders, &["a", "c"])).await;
        broker.expect(mpub(&invoices, &["b", "d"])).await;
        broker.ok().await;
        broker.error(ErrorCode::MpubFailed, "disk full").await;
        broker.hang_up().await;
    };
    let (outcomes, ()) = tokio::join!(soon(publishes), confirming);
    let confirmed: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(confirmed, [true, false, true, false]);
    for outcome in outcomes.into_iter().filter_map(Result::err) {
        assert!(
            matches!(&outcome, PublishError::Refused { cause, .. } if cause.code == ErrorCode::MpubFailed),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn what_users_publish_together_or_deferred_is_not_merged_and_keeps_its_place() {
    let peer = Peer::bind().await;
    let (producer, mut broker) = connected(&peer, config()).await;
    let topic = topic("orders");
    let (one, another) = (
        producer.publish(&topic, body("a")),
        producer.publish(&topic, body("b")),
    );
    let many = producer.publish_many(&topic, vec![body("c"), body("d")]);
    let after = producer.publish_after(&topic, Duration::from_millis(5), body("e"));
    let last = producer.publish(&topic, body("f"));
    let confirming = async {
        for bodies in [["a", "b"], ["c", "d"]] {
            let (topic, bodies) = (topic.clone(), bodies.map(body).to_vec());
            broker.expect(Command::Mpub { topic, bodies }).await;
        }
        let expected = Command::Dpub {
            topic: topic.clone(),
            delay: Duration::from_millis(5),
            body: body("e"),
        };
        broker.expect(expected).await;
        assert_eq!(broker.published().await, "f");
        for _ in 0..4 {
            broker.ok().await;
        }
    };
    let publishes = async { tokio::join!(one, another, many, after, last) };
    let (published, ()) = tokio::join!(soon(publishes), confirming);
    assert_eq!(published, (Ok(()), Ok(()), Ok(()), Ok(()), Ok(())));
}

#[tokio::test]
async fn a_message_that_is_refused_here_does_not_take_others_down() {
    let peer = Peer::bind().await;
    let connection = quick().max_message_size(4);
    let (producer, mut broker) = connected(&peer, config().connection(connection)).await;
    let topic = topic("orders");
    let publishes = join_all([
        producer.publish(&topic, body("a")),
        producer.publish(&topic, body("too large")),
        producer.publish(&topic, body("")),
        producer.publish(&topic, body("b")),
    ]);
    let confirming = async {
        let bodies = vec![body("a"), body("b")];
        broker
            .expect(Command::Mpub {
                topic: topic.clone(),
                bodies,
            })
            .await;
        broker.ok().await;
    };
    let (outcomes, ()) = tokio::join!(soon(publishes), confirming);
    let confirmed: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(confirmed, [true, false, false, true]);
}

#[tokio::test]
async fn merged_publishes_that_were_not_sent_whole_go_out_again() {
    let peer = Peer::bind().await;
    let (producer, broker) = connected(&peer, config()).await;
    let (orders, invoices) = (topic("orders"), topic("invoices"));
    let publishes = join_all([
        producer.publish(&invoices, body("refused")),
        producer.publish(&orders, body("a")),
        producer.publish(&invoices, body("refused too")),
        producer.publish(&orders, body("b")),
    ]);
    let refusing = async {
        let mut broker = broker;
        assert!(matches!(broker.next().await, Some(Command::Mpub { .. })));
        broker.error(ErrorCode::BadTopic, "not these").await;
        broker.hang_up().await;
        let mut next = peer.accept().await;
        let bodies = vec![body("a"), body("b")];
        next.expect(Command::Mpub {
            topic: orders.clone(),
            bodies,
        })
        .await;
        next.ok().await;
        next
    };
    let (outcomes, _broker) = tokio::join!(soon(publishes), refusing);
    let confirmed: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(confirmed, [false, true, false, true]);
}

#[tokio::test]
async fn a_message_that_only_the_broker_refuses_does_not_take_those_down_that_it_was_merged_with() {
    let peer = Peer::bind().await;
    let (producer, mut first) = connected(&peer, config()).await;
    let orders = topic("orders");
    let publishes = join_all(["a", "too large", "b"].map(|text| producer.publish(&orders, body(text))));
    let refusing = async {
        assert!(matches!(first.next().await, Some(Command::Mpub { .. })));
        let words = "MPUB invalid message(1) body size";
        first.error(ErrorCode::BadMessage, words).await;
        first.hang_up().await;
        let mut second = peer.accept().await;
        assert_eq!(second.published().await, "a");
        assert_eq!(second.published().await, "too large");
        second.ok().await;
        second.error(ErrorCode::BadMessage, "PUB message too big").await;
        second.hang_up().await;
        let mut third = peer.accept().await;
        assert_eq!(third.published().await, "b");
        third.ok().await;
        third
    };
    let (outcomes, _broker) = tokio::join!(soon(publishes), refusing);
    let [a, large, b] = <[_; 3]>::try_from(outcomes).unwrap();
    assert_eq!((a, b), (Ok(()), Ok(())));
    assert!(
        matches!(&large, Err(PublishError::Refused { cause, .. }) if cause.code == ErrorCode::BadMessage),
        "{large:?}"
    );
}

#[tokio::test]
async fn a_broker_with_smaller_limits_refuses_only_what_is_beyond_them() {
    const LIMIT: usize = 100;
    let limited = BrokerConfig::default().max_message_size(LIMIT);
    let broker = Broker::start(limited).await.unwrap();
    let address = broker.tcp_addr().to_string();
    let orders = topic("orders");
    let bodies: Vec<Bytes> = (0..50).map(|number| vec![b'x'; 1 + 3 * number].into()).collect();
    let pooled = ProducerPoolConfig::default().producer(config());
    let pool = soon(ProducerPool::connect([&address], pooled)).await.unwrap();
    let producer = soon(Producer::connect(&address, config())).await.unwrap();
    let alone = soon(join_all(
        bodies.iter().map(|body| producer.publish(&orders, body.clone())),
    ))
    .await;
    let by_a_pool = soon(join_all(
        bodies.iter().map(|body| pool.publish(&orders, body.clone())),
    ))
    .await;
    for outcomes in [alone, by_a_pool] {
        for (body, outcome) in bodies.iter().zip(outcomes) {
            let is_small = body.len() <= LIMIT;
            assert_eq!(outcome.is_ok(), is_small, "{} bytes: {outcome:?}", body.len());
        }
    }
    // And each of the others is there once from either, however often it was sent.
    let connecting = Consumer::connect([&address], orders, channel("c"), ConsumerConfig::default());
    let mut consumer = soon(connecting).await.unwrap();
    let mut expected: Vec<usize> = bodies
        .iter()
        .map(Bytes::len)
        .filter(|size| *size <= LIMIT)
        .collect();
    expected.extend(expected.clone());
    expected.sort_unstable();
    let mut sizes = Vec::new();
    while sizes.len() < expected.len() {
        let delivery = soon(consumer.recv()).await.unwrap();
        sizes.push(delivery.body().len());
        delivery.finish().unwrap();
    }
    sizes.sort_unstable();
    assert_eq!(sizes, expected);
}
