use std::time::Duration;

use almanet_nsq::{Consumer, ConsumerConfig, SampleRate, Window};
use almanet_nsq_proto::Command;

use crate::peer::{Conversation, Peer, channel, id, quick, soon, topic};

async fn connected(peer: &Peer, window: Window) -> (Consumer, Conversation) {
    let config = ConsumerConfig::default().connection(quick()).window(window);
    let connecting = Consumer::connect([&peer.address], topic("t"), channel("c"), config);
    let (consumer, broker) = tokio::join!(soon(connecting), peer.accept_subscriber());
    (consumer.unwrap(), broker)
}

#[tokio::test]
async fn each_window_asks_for_its_buffer_and_tells_its_ready() {
    for (window, buffer, ready) in [
        (Window::Adaptive, None, 1),
        (Window::Fixed(7), None, 7),
        (Window::Fixed(1000), None, 256),
        (Window::Fixed(0), None, 1),
        (Window::Unbuffered, Some(-1), 256),
    ] {
        let peer = Peer::bind().await;
        let (_consumer, mut broker) = connected(&peer, window).await;
        assert_eq!(broker.identify.output_buffer_size, buffer, "{window:?}");
        broker.expect(Command::Rdy(ready)).await;
    }
}

#[tokio::test]
async fn a_sample_rate_is_asked_for_only_where_it_is_set() {
    let peer = Peer::bind().await;
    for (rate, asked) in [(None, None), (SampleRate::new(10), Some(10))] {
        let mut config = ConsumerConfig::default().connection(quick());
        if let Some(rate) = rate {
            config = config.sample_rate(rate);
        }
        let connecting = Consumer::connect([&peer.address], topic("t"), channel("c"), config);
        let (consumer, broker) = tokio::join!(soon(connecting), peer.accept_subscriber());
        assert_eq!(broker.identify.sample_rate, asked);
        drop(consumer.unwrap());
    }
}

#[tokio::test]
async fn a_broker_that_never_holds_messages_back_gets_a_window_that_grows_when_it_is_used_up() {
    let mut peer = Peer::bind().await;
    peer.answer.flushes_when_idle = true;
    let (mut consumer, mut broker) = connected(&peer, Window::Adaptive).await;
    let mut ready = 16;
    broker.expect(Command::Rdy(ready)).await;
    let mut numbers = 1..;
    while ready < 256 {
        let numbers: Vec<u64> = numbers.by_ref().take(usize::try_from(ready).unwrap()).collect();
        broker
            .messages(numbers[0]..=numbers[numbers.len() - 1], "x")
            .await;
        for _ in &numbers {
            soon(consumer.recv()).await.unwrap().finish().unwrap();
        }
        // It can have grown twice, with a read that ended in the middle.
        let before = ready;
        while ready == before {
            ready = broker.ready().await.max(ready);
        }
    }
    assert_eq!(ready, 256);
}

#[tokio::test]
async fn a_user_who_takes_nothing_is_sent_nothing_more() {
    let mut peer = Peer::bind().await;
    for (flushes_when_idle, most) in [(false, 1), (true, 16)] {
        peer.answer.flushes_when_idle = flushes_when_idle;
        let (mut consumer, mut broker) = connected(&peer, Window::Adaptive).await;
        broker.expect(Command::Rdy(most)).await;
        broker.messages(1..=most, "x").await;
        soon(tokio::time::timeout(Duration::from_millis(50), broker.next()))
            .await
            .unwrap_err();
        // Once it takes them, all is as before.
        let mut held = Vec::new();
        for _ in 1..=most {
            held.push(soon(consumer.recv()).await.unwrap());
        }
        assert!(broker.ready().await > most);
    }
}

#[tokio::test]
async fn ready_is_one_more_than_the_messages_that_handlers_hold() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, Window::Adaptive).await;
    let mut held = Vec::new();
    for number in 1..=3 {
        broker.expect(Command::Rdy(number)).await;
        broker.message(number, "x").await;
        held.push(soon(consumer.recv()).await.unwrap());
    }
    broker.expect(Command::Rdy(4)).await;
    for (number, delivery) in (1..=3).zip(held) {
        delivery.finish().unwrap();
        // The smaller RDY comes first, or the broker would send two messages and wait for a third.
        broker.expect(Command::Rdy(4 - number)).await;
        broker.expect(Command::Fin(id(number))).await;
    }
}

#[tokio::test]
async fn a_message_that_is_answered_at_once_costs_one_command() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, Window::Adaptive).await;
    broker.expect(Command::Rdy(1)).await;
    let answering = tokio::spawn(async move {
        for _ in 1..=3 {
            consumer.recv().await.unwrap().finish().unwrap();
        }
        consumer
    });
    for number in 1..=3 {
        broker.message(number, "x").await;
        broker.expect(Command::Fin(id(number))).await;
    }
    soon(answering).await.unwrap();
}

#[tokio::test]
async fn callers_that_take_turns_do_not_wait_for_an_answer_that_takes_long() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, Window::Adaptive).await;
    broker.expect(Command::Rdy(1)).await;
    let answering = tokio::spawn(async move {
        for _ in 1..=20 {
            consumer.recv().await.unwrap().finish().unwrap();
        }
        (consumer.recv().await.unwrap(), consumer)
    });
    // A message that happens to be late ends the turns for a while, and then there is room for another already.
    let mut ready = 1;
    for number in 1..=20 {
        broker.message(number, "x").await;
        loop {
            match broker.next().await.unwrap() {
                Command::Rdy(count) => ready = count,
                command => break assert_eq!(command, Command::Fin(id(number))),
            }
        }
    }
    broker.message(21, "x").await;
    let _held = soon(answering).await.unwrap();
    while ready < 2 {
        if let Command::Rdy(count) = broker.next().await.unwrap() {
            ready = count;
        }
    }
}

#[tokio::test]
async fn a_share_that_changes_bounds_ready_on_every_node() {
    let (one, two) = (Peer::bind().await, Peer::bind().await);
    let nodes = [&one.address, &two.address];
    let config = ConsumerConfig::default().connection(quick()).max_in_flight(4);
    let connecting = Consumer::connect(nodes, topic("t"), channel("c"), config);
    let (consumer, mut first, second) =
        tokio::join!(soon(connecting), one.accept_subscriber(), two.accept_subscriber());
    let mut consumer = consumer.unwrap();
    let mut held = Vec::new();
    first.expect(Command::Rdy(1)).await;
    for number in 1..=2 {
        first.message(number, "x").await;
        held.push(soon(consumer.recv()).await.unwrap());
    }
    // Both of its share are in use, so there is nothing to add before the other node is gone.
    first.expect(Command::Rdy(2)).await;
    drop((second, two));
    first.expect(Command::Rdy(3)).await;
    soon(tokio::time::timeout(Duration::from_millis(1), consumer.recv()))
        .await
        .unwrap_err();
}
