//! No task outlives its owner, however its owner ends.

use std::time::Duration;

use almanet_nsq::{
    Consumer, ConsumerConfig, Lookup, LookupConfig, Producer, ProducerConfig, ProducerPool,
    ProducerPoolConfig,
};
use tokio::runtime::Handle;

use crate::{
    lookupd::Lookupd,
    peer::{Conversation, Peer, channel, quick, soon, topic},
};

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Waits until no more tasks are alive than there were.
async fn back_to(before: usize) {
    let ended = async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    soon(ended).await;
}

fn each() -> ProducerConfig {
    ProducerConfig::default().connection(quick())
}

fn reading() -> ConsumerConfig {
    ConsumerConfig::default().connection(quick())
}

fn pooled() -> ProducerPoolConfig {
    ProducerPoolConfig::default().producer(each())
}

/// Does what a broker does at the end of a subscription.
async fn let_go(mut broker: Conversation) {
    while let Some(command) = broker.next().await {
        if command == almanet_nsq_proto::Command::Cls {
            let wait = bytes::Bytes::from_static(almanet_nsq_proto::CLOSE_WAIT);
            broker.send(almanet_nsq_proto::Frame::Response(wait)).await;
        }
    }
}

#[tokio::test]
async fn the_tasks_of_a_producer_end_with_it() {
    let peer = Peer::bind().await;
    let before = tasks();
    for is_closed in [true, false] {
        let connecting = Producer::connect(&peer.address, each());
        let (producer, _broker) = tokio::join!(soon(connecting), peer.accept());
        let producer = producer.unwrap();
        assert!(tasks() > before);
        if is_closed {
            soon(producer.close()).await;
            assert_eq!(tasks(), before, "closed means ended");
        }
        drop(producer);
        back_to(before).await;
    }
    // One that never connected.
    let gone = Peer::bind().await.address;
    drop(Producer::connect_lazily(gone, each()));
    back_to(before).await;
}

#[tokio::test]
async fn the_tasks_of_a_pool_end_with_it() {
    let (one, two) = (Peer::bind().await, Peer::bind().await);
    let before = tasks();
    for is_closed in [true, false] {
        let addresses = [one.address.as_str(), two.address.as_str()];
        let connecting = ProducerPool::connect(addresses, pooled());
        let (pool, _one, _two) = tokio::join!(soon(connecting), one.accept(), two.accept());
        let pool = pool.unwrap();
        assert!(tasks() > before);
        if is_closed {
            soon(pool.close()).await;
            assert_eq!(tasks(), before, "closed means ended");
        }
        drop(pool);
        back_to(before).await;
    }
}

#[tokio::test]
async fn the_tasks_of_a_consumer_end_with_it() {
    let (one, two) = (Peer::bind().await, Peer::bind().await);
    let before = tasks();
    for is_closed in [true, false] {
        let addresses = [one.address.as_str(), two.address.as_str()];
        let connecting = Consumer::connect(addresses, topic("t"), channel("c"), reading());
        let accepting = async { tokio::join!(one.accept_subscriber(), two.accept_subscriber()) };
        let (consumer, (mut first, second)) = tokio::join!(soon(connecting), accepting);
        let mut consumer = consumer.unwrap();
        assert!(tasks() > before);
        // One that is in the user's hands, and one that waits for them.
        first.messages(1..=2, "x").await;
        let held = soon(consumer.recv()).await.unwrap();
        if is_closed {
            held.finish().unwrap();
            tokio::join!(soon(consumer.close()), let_go(first), let_go(second));
            assert_eq!(tasks(), before, "closed means ended");
        } else {
            drop(consumer);
            back_to(before).await;
            drop(held);
            first.until_closed().await;
        }
        back_to(before).await;
    }
}

#[tokio::test]
async fn the_tasks_of_a_pool_and_a_consumer_that_follow_nsqlookupd_end_with_them() {
    let node = Peer::bind().await;
    let lookupd = Lookupd::listing([node.address.as_str()]).await;
    // Each answer of the scripted nsqlookupd takes a task, so this asks once.
    let seldom = LookupConfig::default().poll_interval(Duration::from_secs(3600));
    let lookup = Lookup::new([lookupd.address.as_str()], seldom).unwrap();
    let before = tasks();
    for is_closed in [true, false] {
        let nodes = soon(lookup.every_node()).await.unwrap();
        let discovering = ProducerPool::discover(nodes.clone(), pooled());
        let (pool, _broker) = tokio::join!(soon(discovering), node.accept());
        let pool = pool.unwrap();
        let discovering = Consumer::discover(nodes, topic("t"), channel("c"), reading());
        let (consumer, broker) = tokio::join!(soon(discovering), node.accept_subscriber());
        assert!(tasks() > before);
        if is_closed {
            tokio::join!(soon(pool.close()), soon(consumer.close()), let_go(broker));
        } else {
            drop((pool, consumer));
        }
        back_to(before).await;
    }
}

#[tokio::test]
async fn the_tasks_of_a_pool_end_with_it_while_a_node_is_drained() {
    let (one, two) = (Peer::bind().await, Peer::bind().await);
    let before = tasks();
    let lookupd = Lookupd::listing([one.address.as_str()]).await;
    let eager = LookupConfig::default().poll_interval(Duration::from_millis(2));
    let lookup = Lookup::new([lookupd.address.as_str()], eager).unwrap();
    let nodes = soon(lookup.every_node()).await.unwrap();
    let discovering = ProducerPool::discover(nodes, pooled());
    let (pool, mut draining) = tokio::join!(soon(discovering), one.accept());
    let pool = pool.unwrap();
    let orders = topic("orders");
    let unconfirmed = pool.publish(&orders, crate::peer::body("a"));
    let mut unconfirmed = Box::pin(unconfirmed);
    tokio::select! {
        _ = &mut unconfirmed => unreachable!(),
        body = draining.published() => assert_eq!(body, "a"),
    }
    lookupd.lists([two.address.as_str()]);
    let _two = two.accept().await;
    lookupd.is_asked(3).await;
    drop(unconfirmed);
    drop((pool, lookupd));
    back_to(before).await;
    draining.until_closed().await;
}
