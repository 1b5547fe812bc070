use std::{sync::Arc, time::Duration};

use almanet_nsq::{ConsumerConfig, Delivery, Window};
use almanet_nsq_proto::{CLOSE_WAIT, Command, Frame};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc};

use crate::{
    consuming::connected,
    peer::{Peer, id, quick, soon},
};

fn config() -> ConsumerConfig {
    ConsumerConfig::default()
        .connection(quick())
        .window(Window::Unbuffered)
        .backoff(None)
        .max_attempts(2)
}

/// What is given up goes out at the other end.
fn channelled(config: ConsumerConfig) -> (ConsumerConfig, mpsc::UnboundedReceiver<Delivery>) {
    let (sender, given_up) = mpsc::unbounded_channel();
    let config = config.on_give_up(move |delivery| {
        let sender = sender.clone();
        async move { sender.send(delivery).unwrap() }
    });
    (config, given_up)
}

#[tokio::test]
async fn what_comes_too_often_goes_to_the_hook_and_all_else_to_the_user() {
    let peer = Peer::bind().await;
    let (config, mut given_up) = channelled(config());
    let (mut consumer, mut broker) = connected(&peer, config).await;
    broker.attempt(1, 3, "too often").await;
    broker.attempt(2, 2, "the last time").await;
    let delivery = soon(consumer.recv()).await.unwrap();
    assert_eq!((delivery.id(), delivery.attempts()), (id(2), 2));
    let delivery = soon(given_up.recv()).await.unwrap();
    assert_eq!((delivery.id(), delivery.attempts()), (id(1), 3));
    assert_eq!(&delivery.body()[..], b"too often");
    assert_eq!(delivery.size(), 9);
    assert_eq!(**delivery.node(), *peer.address);
    assert_eq!(delivery.timestamp(), 1_700_000_000_000_000_000);
    delivery.finish().unwrap();
    broker.expect(Command::Fin(id(1))).await;
    assert!(consumer.try_recv().is_none());
}

#[tokio::test]
async fn without_a_hook_it_is_finished() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    broker.attempt(1, 3, "x").await;
    broker.expect(Command::Fin(id(1))).await;
    assert!(consumer.try_recv().is_none());
}

#[tokio::test]
async fn without_a_limit_nothing_is_given_up() {
    let peer = Peer::bind().await;
    let config = ConsumerConfig::default()
        .connection(quick())
        .on_give_up(|_| async { panic!("given up") });
    let (mut consumer, mut broker) = connected(&peer, config).await;
    broker.attempt(1, u16::MAX, "x").await;
    soon(consumer.recv()).await.unwrap().finish().unwrap();
}

#[tokio::test]
async fn a_hook_that_panics_loses_nothing_and_harms_nobody() {
    let peer = Peer::bind().await;
    let config = config().on_give_up(|delivery| {
        assert!(delivery.id() == id(1), "a hook that panics before its future");
        async move {
            let _delivery = delivery;
            panic!("a hook that panics in its future");
        }
    });
    let (_consumer, mut broker) = connected(&peer, config).await;
    for number in 1..=2 {
        broker.attempt(number, 3, "x").await;
        let (id, delay) = (id(number), Duration::ZERO);
        broker.expect(Command::Req { id, delay }).await;
    }
}

#[tokio::test]
async fn a_message_that_is_given_up_is_a_failure() {
    let peer = Peer::bind().await;
    let config = config().backoff(Duration::from_millis(10)..=Duration::from_millis(10));
    let (config, mut given_up) = channelled(config);
    let (_consumer, mut broker) = connected(&peer, config).await;
    broker.attempt(1, 3, "x").await;
    soon(given_up.recv()).await.unwrap().finish().unwrap();
    assert_eq!(broker.ready().await, 0);
    assert_eq!(broker.ready().await, 1);
}

#[tokio::test]
async fn close_waits_for_hooks() {
    let peer = Peer::bind().await;
    let go = Arc::new(Notify::new());
    let config = {
        let go = Arc::clone(&go);
        config().on_give_up(move |delivery| {
            let go = Arc::clone(&go);
            async move {
                delivery.touch().unwrap();
                go.notified().await;
                delivery.finish().unwrap();
            }
        })
    };
    let (consumer, mut broker) = connected(&peer, config).await;
    broker.attempt(1, 3, "x").await;
    broker.expect(Command::Touch(id(1))).await;
    let mut closing = Box::pin(consumer.close());
    assert!(closing.as_mut().now_or_never().is_none());
    let answering = async {
        broker.expect(Command::Rdy(0)).await;
        go.notify_one();
        broker.expect(Command::Fin(id(1))).await;
        broker.expect(Command::Cls).await;
        broker.send(Frame::Response(Bytes::from_static(CLOSE_WAIT))).await;
    };
    tokio::join!(soon(closing), answering);
}

#[tokio::test]
async fn hooks_end_with_the_consumer() {
    let peer = Peer::bind().await;
    let (alive, mut ended) = mpsc::channel::<()>(1);
    let config = config().on_give_up(move |delivery| {
        let alive = alive.clone();
        async move {
            delivery.touch().unwrap();
            std::future::pending::<()>().await;
            drop((alive, delivery));
        }
    });
    let (consumer, mut broker) = connected(&peer, config).await;
    broker.attempt(1, 3, "x").await;
    broker.expect(Command::Touch(id(1))).await;
    drop(consumer);
    assert_eq!(soon(ended.recv()).await, None);
}
