//! Peers that are there and say nothing.

use std::time::{Duration, Instant};

use almanet_nsq::{Producer, ProducerConfig};
use almanet_tests::{
    TestBroker,
    proxy::{Cut, Direction, Proxy},
};
use bytes::Bytes;

use super::{consumer_with, next, quick, soon, unique_topic};

/// The shortest that nsqd grants.
const HEARTBEAT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_broker_that_falls_silent_is_left_within_two_heartbeats() {
    let broker = TestBroker::start().await;
    let topic = unique_topic();
    let connection = quick().heartbeat_interval(HEARTBEAT);
    let (publishing, consuming) = (
        Proxy::to(broker.address()).await,
        Proxy::to(broker.address()).await,
    );
    let config = ProducerConfig::default().connection(connection.clone());
    let producer = soon(Producer::connect(publishing.address(), config))
        .await
        .unwrap();
    let mut consumer = consumer_with([consuming.address()], &topic, connection).await;

    let begun = Instant::now();
    let left = async |proxy: &Proxy| {
        proxy.stall(Direction::ToClient);
        proxy.accepted(2).await;
        let after = begun.elapsed();
        proxy.resume();
        after
    };
    for after in <[Duration; 2]>::from(tokio::join!(left(&publishing), left(&consuming))) {
        // Two intervals, and what a busy machine needs.
        let expected = HEARTBEAT..HEARTBEAT * 2 + HEARTBEAT / 2;
        assert!(expected.contains(&after), "left after {after:?}");
    }

    soon(producer.publish(&topic, Bytes::from_static(b"after")))
        .await
        .unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!(&delivery.body()[..], b"after");
    delivery.finish().unwrap();
}

#[tokio::test]
async fn what_a_consumer_that_fell_silent_holds_goes_to_another() {
    let broker = TestBroker::start().await;
    let topic = unique_topic();
    let proxy = Proxy::to(broker.address()).await;
    let config = ProducerConfig::default().connection(quick());
    let producer = soon(Producer::connect(broker.address(), config)).await.unwrap();
    let mut silent = consumer_with([proxy.address()], &topic, quick()).await;
    soon(producer.publish(&topic, Bytes::from_static(b"held")))
        .await
        .unwrap();
    let held = next(&mut silent).await;

    // Whatever it says from now on, the broker does not hear it.
    proxy.swallow(Direction::ToBroker);
    held.finish().unwrap();
    let mut other = consumer_with([broker.address().to_owned()], &topic, quick()).await;
    let delivery = next(&mut other).await;
    assert_eq!(&delivery.body()[..], b"held");
    // The silent one may have got it a second time.
    assert!(delivery.attempts() >= 2);
    delivery.finish().unwrap();
    proxy.cut(Cut::Reset);
}
