use std::time::Duration;

use almanet_nsq::{ConsumerConfig, Window};
use almanet_nsq_proto::Command;
use tokio::sync::mpsc;

use crate::{
    consuming::connected,
    peer::{Peer, id, quick, soon},
};

const SIZE: usize = 5_000_000;

fn config() -> ConsumerConfig {
    ConsumerConfig::default()
        .connection(quick().max_message_size(100_000))
        .window(Window::Unbuffered)
}

#[tokio::test]
async fn a_message_that_is_too_large_is_requeued_later_each_time_and_the_others_flow_on() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    for (attempts, seconds) in [(1, 1), (2, 2), (4, 8), (40, 600), (u16::MAX, 600)] {
        broker.attempt(1, attempts, vec![b'x'; SIZE]).await;
        let delay = Duration::from_secs(seconds);
        broker.expect(Command::Req { id: id(1), delay }).await;
        broker.attempt(2, 1, vec![b'y'; 100_000]).await;
        let delivery = soon(consumer.recv()).await.unwrap();
        assert_eq!((delivery.id(), delivery.size()), (id(2), 100_000));
        delivery.finish().unwrap();
        broker.expect(Command::Fin(id(2))).await;
    }
}

#[tokio::test]
async fn it_is_given_up_after_the_same_attempts_as_others() {
    let peer = Peer::bind().await;
    let (sender, mut given_up) = mpsc::unbounded_channel();
    let config = config()
        .backoff(None)
        .max_attempts(1)
        .on_give_up(move |delivery| {
            let sender = sender.clone();
            async move { sender.send(delivery).unwrap() }
        });
    let (_consumer, mut broker) = connected(&peer, config).await;
    broker.attempt(1, 2, vec![b'x'; SIZE]).await;
    let delivery = soon(given_up.recv()).await.unwrap();
    assert_eq!((delivery.size(), delivery.body().len()), (SIZE, 0));
    assert_eq!((delivery.id(), delivery.attempts()), (id(1), 2));
    delivery.finish().unwrap();
    broker.expect(Command::Fin(id(1))).await;
}
