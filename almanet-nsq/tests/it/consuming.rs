use std::time::Duration;

use almanet_nsq::{AnswerError, Consumer, ConsumerConfig, Delivery, ErrorCode, Window};
use almanet_nsq_proto::{CLOSE_WAIT, Command, Frame};
use bytes::Bytes;
use futures_util::FutureExt;

use crate::peer::{Conversation, Peer, channel, id, quick, soon, topic};

/// What the broker is told is not these tests' matter, so it is told once.
fn config() -> ConsumerConfig {
    ConsumerConfig::default()
        .connection(quick())
        .window(Window::Unbuffered)
        .backoff(None)
}

/// A consumer, and the broker's side of its connection, which has been told RDY.
pub(crate) async fn connected(peer: &Peer, config: ConsumerConfig) -> (Consumer, Conversation) {
    let connecting = Consumer::connect([&peer.address], topic("t"), channel("c"), config);
    let (consumer, mut broker) = tokio::join!(soon(connecting), peer.accept_subscriber());
    let Some(Command::Rdy(1..)) = broker.next().await else {
        panic!("the consumer is not ready");
    };
    (consumer.unwrap(), broker)
}

fn requeue(number: u64) -> Command {
    Command::Req {
        id: id(number),
        delay: Duration::ZERO,
    }
}

fn close_wait() -> Frame {
    Frame::Response(Bytes::from_static(CLOSE_WAIT))
}

#[tokio::test]
async fn a_delivery_shows_what_the_broker_said() {
    let mut peer = Peer::bind().await;
    peer.answer.msg_timeout = 12_000;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    assert!(consumer.try_recv().is_none());
    broker.message(1, "tea").await;
    let delivery = soon(consumer.recv()).await.unwrap();
    assert_eq!(&delivery.body()[..], b"tea");
    assert_eq!(delivery.id(), id(1));
    assert_eq!(delivery.attempts(), 1);
    assert_eq!(delivery.timestamp(), 1_700_000_000_000_000_000);
    assert_eq!(**delivery.node(), *peer.address);
    assert_eq!(delivery.msg_timeout(), Duration::from_secs(12));
    assert_eq!(
        (consumer.topic().as_str(), consumer.channel().as_str()),
        ("t", "c")
    );
}

#[tokio::test]
async fn answers_reach_the_broker() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    for number in 1..=3 {
        broker.message(number, "x").await;
    }
    let first = soon(consumer.recv()).await.unwrap();
    first.touch().unwrap();
    broker.expect(Command::Touch(id(1))).await;
    first.finish().unwrap();
    broker.expect(Command::Fin(id(1))).await;
    let delay = Duration::from_secs(3);
    soon(consumer.recv()).await.unwrap().requeue(delay).unwrap();
    broker.expect(Command::Req { id: id(2), delay }).await;
    drop(soon(consumer.recv()).await);
    broker.expect(requeue(3)).await;
}

#[tokio::test]
async fn an_answer_that_comes_too_late_does_not_end_the_connection() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    broker
        .error(
            ErrorCode::FinFailed,
            "FIN 0000000000000001 failed ID not in flight",
        )
        .await;
    broker
        .error(
            ErrorCode::ReqFailed,
            "REQ 0000000000000002 failed ID not in flight",
        )
        .await;
    broker
        .error(
            ErrorCode::TouchFailed,
            "TOUCH 0000000000000003 failed ID not in flight",
        )
        .await;
    broker.message(4, "x").await;
    soon(consumer.recv()).await.unwrap().finish().unwrap();
    broker.expect(Command::Fin(id(4))).await;
}

#[tokio::test]
async fn a_lost_connection_is_subscribed_again_and_its_deliveries_say_so() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    broker.message(1, "handed out").await;
    let held = soon(consumer.recv()).await.unwrap();
    // The second message is whole when the connection is cut in the middle of the third.
    broker.message(2, "not handed out").await;
    broker.raw(b"\0\0\0\x20\0\0\0\x02\0\0").await;
    drop(broker);

    let mut next = peer.accept_subscriber().await;
    next.expect(Command::Rdy(256)).await;
    let lost = AnswerError::ConnectionLost {
        node: peer.address.as_str().into(),
        id: id(1),
    };
    assert_eq!(held.touch(), Err(lost.clone()));
    assert_eq!(held.finish(), Err(lost));

    next.message(3, "after").await;
    let delivery = soon(consumer.recv()).await.unwrap();
    assert_eq!(
        delivery.id(),
        id(3),
        "the message of the lost connection cannot be answered"
    );
    delivery.finish().unwrap();
    next.expect(Command::Fin(id(3))).await;
}

#[tokio::test]
async fn a_fatal_error_leads_to_a_new_subscription() {
    let peer = Peer::bind().await;
    let (consumer, mut broker) = connected(&peer, config()).await;
    broker.error(ErrorCode::Invalid, "cannot do that").await;
    broker.until_closed().await;
    peer.accept_subscriber().await;
    drop(consumer);
}

#[tokio::test]
async fn max_in_flight_is_spread_over_the_nodes_that_are_there() {
    let (one, two) = (Peer::bind().await, Peer::bind().await);
    let nodes = [&one.address, &two.address];
    let connecting = Consumer::connect(nodes, topic("t"), channel("c"), config().max_in_flight(5));
    let (consumer, mut first, mut second) =
        tokio::join!(soon(connecting), one.accept_subscriber(), two.accept_subscriber());
    let mut consumer = consumer.unwrap();
    let mut shares = Vec::new();
    for broker in [&mut first, &mut second] {
        let share = loop {
            match broker.next().await {
                // Whichever came first may have had it all for a moment.
                Some(Command::Rdy(5)) => {}
                Some(Command::Rdy(share)) => break share,
                other => panic!("{other:?} is not RDY"),
            }
        };
        shares.push(share);
    }
    shares.sort_unstable();
    assert_eq!(shares, [2, 3]);

    first.message(1, "from one").await;
    second.message(2, "from two").await;
    for _ in 0..2 {
        let delivery = soon(consumer.recv()).await.unwrap();
        let node = if delivery.id() == id(1) { &one } else { &two };
        assert_eq!(**delivery.node(), *node.address);
        delivery.finish().unwrap();
    }
    first.expect(Command::Fin(id(1))).await;
    second.expect(Command::Fin(id(2))).await;

    drop((second, two));
    loop {
        match first.next().await {
            Some(Command::Rdy(5)) => break,
            Some(Command::Rdy(_)) => {}
            other => panic!("{other:?} is not RDY"),
        }
    }
}

#[tokio::test]
async fn one_node_is_enough_and_the_other_joins_when_it_is_there() {
    let (one, late) = (Peer::bind().await, Peer::bind().await);
    let nodes = [&one.address, &late.address];
    let connecting = Consumer::connect(nodes, topic("t"), channel("c"), config());
    let hanging_up = async { drop(late.accept_silently().await) };
    let (consumer, _first, ()) = tokio::join!(soon(connecting), one.accept_subscriber(), hanging_up);
    let mut consumer = consumer.unwrap();
    let mut second = late.accept_subscriber().await;
    second.message(1, "x").await;
    assert_eq!(**soon(consumer.recv()).await.unwrap().node(), *late.address);
}

#[tokio::test]
async fn ready_never_exceeds_what_the_broker_takes() {
    let mut peer = Peer::bind().await;
    peer.answer.max_rdy_count = 7;
    let connecting = Consumer::connect([&peer.address], topic("t"), channel("c"), config());
    let (consumer, mut broker) = tokio::join!(soon(connecting), peer.accept_subscriber());
    broker.expect(Command::Rdy(7)).await;
    drop(consumer);
}

#[tokio::test]
async fn close_requeues_what_was_not_handed_out_and_waits_for_what_was() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    for number in 1..=3 {
        broker.message(number, "x").await;
    }
    let held = soon(consumer.recv()).await.unwrap();
    // Both of the others have arrived when the third can be had; the second comes back right away.
    let second = soon(consumer.recv()).await.unwrap();
    let mut closing = Box::pin(consumer.close());
    let third = loop {
        // Whether the third was received before or after RDY 0 makes no difference.
        assert!(closing.as_mut().now_or_never().is_none());
        match broker.next().await.unwrap() {
            Command::Rdy(0) => {}
            other => break other,
        }
    };
    assert_eq!(third, requeue(3));
    broker.message(4, "sent before the broker saw RDY 0").await;
    let handling = async {
        broker.expect(requeue(4)).await;
        second.touch().unwrap();
        broker.expect(Command::Touch(id(2))).await;
        second.finish().unwrap();
        broker.expect(Command::Fin(id(2))).await;
        held.finish().unwrap();
        broker.expect(Command::Fin(id(1))).await;
        broker.expect(Command::Cls).await;
        broker.send(close_wait()).await;
        assert_eq!(broker.next().await, None);
    };
    tokio::join!(soon(closing), handling);
}

#[tokio::test]
async fn close_ends_after_its_timeout_and_late_answers_say_so() {
    let peer = Peer::bind().await;
    let config = config().close_timeout(Duration::from_millis(50));
    let (mut consumer, mut broker) = connected(&peer, config).await;
    broker.message(1, "x").await;
    let held = soon(consumer.recv()).await.unwrap();
    let answering = async {
        broker.expect(Command::Rdy(0)).await;
        broker.expect(Command::Cls).await;
        broker.send(close_wait()).await;
        assert_eq!(broker.next().await, None);
    };
    tokio::join!(soon(consumer.close()), answering);
    assert!(matches!(held.finish(), Err(AnswerError::ConnectionLost { .. })));
}

#[tokio::test]
async fn close_does_not_wait_for_a_node_that_is_gone() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    broker.message(1, "x").await;
    let held = soon(consumer.recv()).await.unwrap();
    drop((broker, peer));
    soon(consumer.close()).await;
    assert!(matches!(held.finish(), Err(AnswerError::ConnectionLost { .. })));
}

#[tokio::test]
async fn a_dropped_consumer_requeues_what_it_holds() {
    let peer = Peer::bind().await;
    let (mut consumer, mut broker) = connected(&peer, config()).await;
    broker.message(1, "x").await;
    broker.message(2, "y").await;
    let held = soon(consumer.recv()).await.unwrap();
    let next = soon(consumer.recv()).await.unwrap();
    drop((next, consumer));
    let mut requeued = Vec::new();
    while let Some(command) = broker.next().await {
        requeued.push(command);
    }
    assert_eq!(requeued, [Command::Rdy(0), requeue(2)]);
    drop(held);
}

#[test]
fn deliveries_outlive_the_runtime_without_a_panic() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (delivery, consumer) = runtime.block_on(async {
        let peer = Peer::bind().await;
        let (mut consumer, mut broker) = connected(&peer, config()).await;
        broker.message(1, "x").await;
        (soon(consumer.recv()).await.unwrap(), consumer)
    });
    drop(runtime);
    assert!(matches!(
        delivery.touch(),
        Err(AnswerError::ConnectionLost { .. })
    ));
    drop(delivery);
    drop(consumer);
}

#[tokio::test]
async fn a_broker_that_sends_too_much_waits_and_is_told_that_the_connection_lives() {
    let peer = Peer::bind().await;
    let connection = quick().heartbeat_interval(Duration::from_millis(50));
    let config = config().connection(connection).max_in_flight(1);
    let (mut consumer, mut broker) = connected(&peer, config).await;
    for number in 1..=5 {
        broker.message(number, "x").await;
    }
    // Nobody takes the messages, so heartbeats would stay unread behind them.
    for _ in 0..3 {
        broker.expect(Command::Nop).await;
    }
    for number in 1..=5 {
        let delivery = soon(consumer.recv()).await.unwrap();
        assert_eq!(delivery.id(), id(number));
        delivery.finish().unwrap();
    }
}

#[test]
fn a_consumer_and_its_deliveries_can_move_between_threads() {
    fn moves<T: Send + Sync + 'static>() {}
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    moves::<Delivery>();
    moves::<Consumer>();
    let _ = || is_send(Consumer::connect(["a:1"], topic("t"), channel("c"), config()));
    let _ = |consumer: Consumer| is_send(consumer.close());
}
