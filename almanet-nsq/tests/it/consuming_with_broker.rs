//! What a consumer does when messages or their users fail, against a real broker; see [`crate::with_broker`].

use std::{collections::BTreeMap, time::Duration};

use almanet_nsq::{Consumer, ConsumerConfig};
use bytes::Bytes;
use futures_util::future::join_all;

use crate::{
    peer::{body, channel, quick, soon},
    with_broker::{consumer, next, node, producer, unique_topic},
};

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
    let mut counts = BTreeMap::new();
    for _ in 0..40 {
        let delivery = next(&mut consumer).await;
        *counts.entry(delivery.node().to_string()).or_insert(0) += 1;
        delivery.finish().unwrap();
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [20, 20]);
}
