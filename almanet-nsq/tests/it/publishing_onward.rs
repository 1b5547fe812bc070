//! Messages that are published with the answer to another, against a broker that does what it is told and real ones.

use std::{collections::BTreeSet, time::Duration};

use almanet_nsq::{AnswerError, Consumer, ConsumerConfig, ErrorCode, Window};
use almanet_nsq_proto::{CLOSE_WAIT, Command, Frame};
use bytes::Bytes;

use crate::{
    consuming::connected,
    peer::{Peer, body, id, quick, soon, topic},
    with_broker::{consumer, node, producer, unique_topic},
};

fn config() -> ConsumerConfig {
    ConsumerConfig::default()
        .connection(quick().max_message_size(100))
        .window(Window::Unbuffered)
        .backoff(None)
}

async fn publish_and_finish(consumer: &mut Consumer, to: &str, text: &'static str) {
    let delivery = soon(consumer.recv()).await.unwrap();
    delivery.publish_and_finish(&topic(to), body(text)).unwrap();
}

#[tokio::test]
async fn the_answer_leaves_behind_what_is_published() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    for number in 1..=2 {
        broker.message(number, "x").await;
        publish_and_finish(&mut consumer, "done", "y").await;
        let published = Command::Pub {
            topic: topic("done"),
            body: body("y"),
        };
        broker.expect(published).await;
        broker.expect(Command::Fin(id(number))).await;
        // Nobody waits for the confirmation, but it is expected.
        broker.ok().await;
    }
}

#[tokio::test]
async fn what_goes_to_one_topic_at_once_is_one_command_before_its_answers() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    broker.messages(1..=3, "x").await;
    let mut deliveries = Vec::new();
    for _ in 0..3 {
        deliveries.push(soon(consumer.recv()).await.unwrap());
    }
    // On this runtime nothing is written before the test waits for something.
    for (delivery, to) in deliveries.into_iter().zip(["a", "b", "a"]) {
        delivery.publish_and_finish(&topic(to), body("y")).unwrap();
    }
    let both = Command::Mpub {
        topic: topic("a"),
        bodies: vec![body("y"), body("y")],
    };
    broker.expect(both).await;
    broker.expect(Command::Fin(id(1))).await;
    broker.expect(Command::Fin(id(3))).await;
    assert_eq!(broker.published().await, "y");
    broker.expect(Command::Fin(id(2))).await;
}

#[tokio::test]
async fn a_closing_consumer_publishes_before_it_asks_for_the_end() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    broker.message(1, "x").await;
    let delivery = soon(consumer.recv()).await.unwrap();
    let closing = async {
        delivery.publish_and_finish(&topic("done"), body("y")).unwrap();
        soon(consumer.close()).await;
    };
    let serving = async {
        loop {
            match broker.next().await.unwrap() {
                Command::Pub { .. } => break,
                Command::Rdy(0) => {}
                other => panic!("{other:?} before the publish"),
            }
        }
        broker.expect(Command::Fin(id(1))).await;
        broker.ok().await;
        while broker.next().await.unwrap() != Command::Cls {}
        broker.send(Frame::Response(Bytes::from_static(CLOSE_WAIT))).await;
    };
    tokio::join!(closing, serving);
}

#[tokio::test]
async fn a_broker_that_refuses_the_publish_delivers_the_message_again() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    broker.message(1, "x").await;
    publish_and_finish(&mut consumer, "done", "y").await;
    assert_eq!(broker.published().await, "y");
    broker
        .error(ErrorCode::BadMessage, "PUB message too big 1 > 0")
        .await;
    drop(broker);

    let mut again = peer.accept_subscriber().await;
    again.attempt(1, 2, "x").await;
    let delivery = soon(consumer.recv()).await.unwrap();
    assert_eq!((delivery.id(), delivery.attempts()), (id(1), 2));
}

#[tokio::test]
async fn what_is_no_message_is_not_published_and_the_delivery_goes_back() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    for (number, size) in [(1, 0), (2, 101)] {
        broker.message(number, "x").await;
        let delivery = soon(consumer.recv()).await.unwrap();
        let refused = delivery.publish_and_finish(&topic("done"), vec![b'y'; size].into());
        let expected = AnswerError::Unpublishable {
            topic: topic("done"),
            size,
            limit: 100,
        };
        assert_eq!(refused, Err(expected));
        let delay = Duration::ZERO;
        broker
            .expect(Command::Req {
                id: id(number),
                delay,
            })
            .await;
    }
}

#[tokio::test]
async fn a_confirmation_of_nothing_ends_the_connection() {
    let peer = Peer::bind().await;
    let (_consumer, mut broker) = connected(&peer, config()).await;
    broker.ok().await;
    peer.accept_subscriber().await;
}

#[tokio::test]
async fn a_broker_passes_everything_on_once() {
    const COUNT: usize = 2000;
    let node = node().await;
    let (from, to) = (unique_topic(), unique_topic());
    let mut first = consumer(&node, &from, 100).await;
    let mut second = consumer(&node, &to, 100).await;
    let producer = producer(&node).await;
    let publishing = async {
        for number in 0..COUNT {
            producer.publish(&from, number.to_string().into()).await.unwrap();
        }
    };
    let passing_on = async {
        for _ in 0..COUNT {
            let delivery = soon(first.recv()).await.unwrap();
            let body = delivery.body().clone();
            delivery.publish_and_finish(&to, body).unwrap();
        }
    };
    let receiving = async {
        let mut seen = BTreeSet::new();
        while seen.len() < COUNT {
            let delivery = soon(second.recv()).await.unwrap();
            assert!(
                seen.insert(delivery.body().clone()),
                "{:?} came twice",
                delivery.body()
            );
            delivery.finish().unwrap();
        }
    };
    tokio::join!(publishing, passing_on, receiving);
    first.close().await;
    assert!(second.try_recv().is_none());
    second.close().await;
    producer.close().await;
}
