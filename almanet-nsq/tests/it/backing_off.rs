use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use almanet_nsq::{Consumer, ConsumerConfig, Delivery, Window};
use almanet_nsq_proto::Command;
use tokio::runtime::Handle;

use crate::{
    consuming::connected,
    peer::{Peer, channel, id, quick, soon, topic},
};

const PAUSE: Duration = Duration::from_millis(100);

fn config() -> ConsumerConfig {
    ConsumerConfig::default()
        .connection(quick())
        .window(Window::Unbuffered)
        .backoff(PAUSE..=4 * PAUSE)
}

async fn next(consumer: &mut Consumer) -> Delivery {
    soon(consumer.recv()).await.unwrap()
}

#[tokio::test]
async fn after_a_failure_nothing_is_asked_for_then_one_message_then_all() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    broker.message(1, "x").await;
    next(&mut consumer).await.requeue(Duration::ZERO).unwrap();
    assert_eq!(broker.ready().await, 0);
    let begun = Instant::now();
    assert_eq!(broker.ready().await, 1);
    assert!(begun.elapsed() > PAUSE / 3, "{:?}", begun.elapsed());

    broker.message(2, "fails too").await;
    next(&mut consumer).await.requeue(Duration::ZERO).unwrap();
    assert_eq!(broker.ready().await, 0);
    let begun = Instant::now();
    assert_eq!(broker.ready().await, 1);
    assert!(begun.elapsed() > PAUSE * 2 / 3, "{:?}", begun.elapsed());

    for (number, ready) in [(3, [0, 1].as_slice()), (4, &[256])] {
        broker.message(number, "succeeds").await;
        next(&mut consumer).await.finish().unwrap();
        for ready in ready {
            assert_eq!(broker.ready().await, *ready);
        }
    }
}

#[tokio::test]
async fn failures_of_messages_that_were_out_already_are_one_step() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    broker.messages(1..=10, "x").await;
    let mut held = VecDeque::new();
    for _ in 1..=10 {
        held.push_back(next(&mut consumer).await);
    }
    let late = held.pop_back().unwrap();
    for delivery in held {
        delivery.requeue(Duration::ZERO).unwrap();
    }
    assert_eq!(broker.ready().await, 0);
    assert_eq!(broker.ready().await, 1);
    // While the probe is out, neither does it count.
    late.requeue(Duration::ZERO).unwrap();
    broker.message(11, "succeeds").await;
    next(&mut consumer).await.finish().unwrap();
    assert_eq!(broker.ready().await, 256);
}

#[tokio::test]
async fn a_delivery_that_is_dropped_has_failed() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    broker.message(1, "x").await;
    drop(next(&mut consumer).await);
    assert_eq!(broker.ready().await, 0);
}

#[tokio::test]
async fn a_requeue_without_backoff_and_one_where_it_is_off_change_nothing() {
    for (config, with_backoff) in [(config(), false), (config().backoff(None), true)] {
        let peer = Peer::bind().await;
        let (mut consumer, mut broker) = connected(&peer, config).await;
        for number in 1..=3 {
            broker.message(number, "x").await;
            let (delivery, delay) = (next(&mut consumer).await, Duration::from_secs(number));
            let requeued = match with_backoff {
                true => delivery.requeue(delay),
                false => delivery.requeue_without_backoff(delay),
            };
            requeued.unwrap();
            let id = id(number);
            broker.expect(Command::Req { id, delay }).await;
        }
    }
}

#[tokio::test]
async fn the_one_message_is_asked_for_on_one_node_at_a_time() {
    let (one, two) = (Peer::bind().await, Peer::bind().await);
    let nodes = [&one.address, &two.address];
    let config = config()
        .max_in_flight(2)
        .low_rdy_timeout(Duration::from_millis(20));
    let connecting = Consumer::connect(nodes, topic("t"), channel("c"), config);
    let (consumer, mut first, mut second) =
        tokio::join!(soon(connecting), one.accept_subscriber(), two.accept_subscriber());
    let mut consumer = consumer.unwrap();
    while first.ready().await != 1 {}
    while second.ready().await != 1 {}
    first.message(1, "x").await;
    next(&mut consumer).await.requeue(Duration::ZERO).unwrap();
    assert_eq!((first.ready().await, second.ready().await), (0, 0));

    // Whoever is asked first has nothing, and so the other is asked, and so on.
    let (mut asked, mut turns) = ([0, 0], 0);
    while turns < 6 {
        let (node, ready) = tokio::select! {
            ready = first.ready() => (0, ready),
            ready = second.ready() => (1, ready),
        };
        asked[node] = ready;
        turns += ready;
    }
    assert!(asked.iter().sum::<u64>() <= 2, "{asked:?}");
    // The end of one turn and the beginning of the next come by different connections, in either order.
    second.message(2, "succeeds").await;
    next(&mut consumer).await.finish().unwrap();
    // From now on both have RDY 1 again, and keep it.
    first.message(3, "x").await;
    second.message(4, "x").await;
    for _ in 0..2 {
        next(&mut consumer).await.finish().unwrap();
    }
    while first.next().await != Some(Command::Fin(id(3))) {}
    while second.next().await != Some(Command::Fin(id(4))) {}
}

#[tokio::test]
async fn a_pause_costs_nothing() {
    let peer = Peer::bind().await;
    let config = config().backoff(5 * PAUSE..=5 * PAUSE);
    let (mut consumer, mut broker) = connected(&peer, config).await;
    broker.message(1, "x").await;
    next(&mut consumer).await.requeue(Duration::ZERO).unwrap();
    assert_eq!(broker.ready().await, 0);
    let parked = || Handle::current().metrics().worker_park_count(0);
    let before = parked();
    assert_eq!(broker.ready().await, 1);
    let woken = parked() - before;
    assert!(woken < 20, "{woken} times");
}
