use std::time::Duration;

use almanet_nsq::{Consumer, ConsumerConfig, Window};
use almanet_nsq_proto::Command;

use crate::peer::{Conversation, Peer, channel, id, quick, soon, topic};

const TURN: Duration = Duration::from_millis(30);

/// A consumer of two nodes that takes one message at a time.
async fn connected() -> (Consumer, Conversation, Conversation) {
    let (one, two) = (Peer::bind().await, Peer::bind().await);
    let config = ConsumerConfig::default()
        .connection(quick())
        .window(Window::Unbuffered)
        .max_in_flight(1)
        .low_rdy_timeout(TURN);
    let nodes = [&one.address, &two.address];
    let connecting = Consumer::connect(nodes, topic("t"), channel("c"), config);
    let (consumer, first, second) =
        tokio::join!(soon(connecting), one.accept_subscriber(), two.accept_subscriber());
    (consumer.unwrap(), first, second)
}

#[tokio::test]
async fn every_node_has_its_turn_and_each_turn_its_end() {
    let (mut consumer, mut first, mut second) = connected().await;
    // Which of them connected first does not matter.
    if soon(async {
        tokio::select! { _ = first.ready() => false, _ = second.ready() => true }
    })
    .await
    {
        std::mem::swap(&mut first, &mut second);
    }
    for number in 1..=3 {
        assert_eq!(second.ready().await, 1);
        assert_eq!(first.ready().await, 0);
        second.message(number, "x").await;
        soon(consumer.recv()).await.unwrap().finish().unwrap();
        assert_eq!(second.ready().await, 0);
        assert_eq!(first.ready().await, 1);
    }
}

#[tokio::test]
async fn a_turn_is_not_passed_on_before_its_message_is_answered() {
    let (mut consumer, mut first, mut second) = connected().await;
    let is_second = soon(async {
        tokio::select! { _ = first.ready() => false, _ = second.ready() => true }
    });
    if is_second.await {
        std::mem::swap(&mut first, &mut second);
    }
    first.message(1, "x").await;
    let held = soon(consumer.recv()).await.unwrap();
    assert_eq!(first.ready().await, 0);
    soon(tokio::time::timeout(3 * TURN, second.next()))
        .await
        .unwrap_err();
    held.finish().unwrap();
    first.expect(Command::Fin(id(1))).await;
    second.expect(Command::Rdy(1)).await;
}
