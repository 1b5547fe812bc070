use std::time::Duration;

use almanet_nsq::{ConsumerConfig, Window};
use almanet_nsq_proto::{CLOSE_WAIT, Command, Frame, HEARTBEAT};
use bytes::Bytes;

use crate::{
    consuming::connected,
    peer::{Peer, id, quick, soon},
};

#[tokio::test]
async fn what_has_waited_for_its_timeout_is_not_handed_out_and_not_answered() {
    let mut peer = Peer::bind().await;
    peer.answer.msg_timeout = 500;
    let config = ConsumerConfig::default()
        .connection(quick())
        .window(Window::Unbuffered);
    let (mut consumer, mut broker) = connected(&peer, config).await;
    broker.messages(1..=2, "x").await;
    broker.send(Frame::Response(Bytes::from_static(HEARTBEAT))).await;
    broker.expect(Command::Nop).await;
    // The messages have been received. Time is all that passes now.
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(510)).await;
    tokio::time::resume();
    broker.attempt(1, 2, "x").await;
    let delivery = soon(consumer.recv()).await.unwrap();
    assert_eq!((delivery.id(), delivery.attempts()), (id(1), 2));
    delivery.finish().unwrap();
    broker.expect(Command::Fin(id(1))).await;
    let ending = async {
        broker.expect(Command::Rdy(0)).await;
        broker.expect(Command::Cls).await;
        let close_wait = Bytes::from_static(CLOSE_WAIT);
        broker.send(Frame::Response(close_wait)).await;
    };
    tokio::join!(soon(consumer.close()), ending);
}
