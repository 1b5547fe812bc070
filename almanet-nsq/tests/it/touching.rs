use std::time::{Duration, Instant};

use almanet_nsq::{ConsumerConfig, Window};
use almanet_nsq_proto::Command;

use crate::{
    consuming::connected,
    peer::{Peer, id, quick, soon},
};

const MSG_TIMEOUT: Duration = Duration::from_millis(300);

fn config() -> ConsumerConfig {
    ConsumerConfig::default()
        .connection(quick())
        .window(Window::Unbuffered)
}

async fn peer() -> Peer {
    let mut peer = Peer::bind().await;
    peer.answer.msg_timeout = 300;
    peer
}

#[tokio::test]
async fn what_is_held_is_touched_in_time_until_it_is_answered() {
    let peer = peer().await;
    let config = config().auto_touch(Duration::from_secs(60));
    let (mut consumer, mut broker) = connected(&peer, config).await;
    broker.messages(1..=2, "x").await;
    let begun = Instant::now();
    let (first, second) = (consumer.recv().await.unwrap(), consumer.recv().await.unwrap());
    for _ in 0..3 {
        broker.expect(Command::Touch(id(1))).await;
        broker.expect(Command::Touch(id(2))).await;
    }
    assert!(begun.elapsed() > MSG_TIMEOUT / 2, "{:?}", begun.elapsed());
    first.finish().unwrap();
    broker.expect(Command::Fin(id(1))).await;
    broker.expect(Command::Touch(id(2))).await;
    second.finish().unwrap();
    broker.expect(Command::Fin(id(2))).await;
    soon(tokio::time::timeout(MSG_TIMEOUT, broker.next()))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn what_is_held_for_too_long_or_was_not_taken_is_not_touched() {
    let peer = peer().await;
    let config = config().auto_touch(MSG_TIMEOUT / 2);
    let (mut consumer, mut broker) = connected(&peer, config).await;
    broker.messages(1..=2, "x").await;
    let _held = soon(consumer.recv()).await.unwrap();
    broker.expect(Command::Touch(id(1))).await;
    soon(tokio::time::timeout(MSG_TIMEOUT, broker.next()))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn nothing_is_touched_unless_that_was_asked_for() {
    let peer = peer().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    broker.message(1, "x").await;
    let _held = soon(consumer.recv()).await.unwrap();
    soon(tokio::time::timeout(MSG_TIMEOUT, broker.next()))
        .await
        .unwrap_err();
}
