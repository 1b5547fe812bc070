use std::time::Duration;

use almanet_nsq::{ErrorCode, Producer, PublishError};
use futures_util::{FutureExt, future::join_all};

use crate::{
    peer::{Peer, body, soon, topic},
    publishing::{config, connected},
};

#[tokio::test]
async fn what_is_queued_while_the_broker_is_away_goes_out_when_it_is_back() {
    let peer = Peer::bind().await;
    let (producer, broker) = connected(&peer, config()).await;
    let orders = topic("orders");
    drop(broker);
    let mut silent = peer.accept_silently().await;
    while producer.is_connected() {
        tokio::task::yield_now().await;
    }
    let other = topic("invoices");
    let publishes = join_all([
        producer.publish(&orders, body("a")),
        producer.publish(&other, body("b")),
    ]);
    let returning = async {
        tokio::io::AsyncWriteExt::shutdown(&mut silent).await.unwrap();
        let mut broker = peer.accept().await;
        assert_eq!(broker.published().await, "a");
        assert_eq!(broker.published().await, "b");
        broker.ok().await;
        broker.ok().await;
        broker
    };
    let (published, _broker) = tokio::join!(soon(publishes), returning);
    assert_eq!(published, [Ok(()), Ok(())]);
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_cannot_be_sent_says_so_after_the_publish_timeout() {
    // A port that nobody listens on: the listener is gone.
    let address = Peer::bind().await.address;
    let config = config().publish_timeout(Duration::from_secs(15));
    let producer = Producer::connect_lazily(&address, config);
    let topic = topic("orders");
    let begun = tokio::time::Instant::now();
    let outcome = producer.publish(&topic, body("a")).await;
    let Err(PublishError::NotSent {
        address: named,
        waited,
        ..
    }) = outcome
    else {
        panic!("{outcome:?} is not NotSent");
    };
    assert_eq!(&*named, address);
    assert!(waited >= Duration::from_secs(15), "{waited:?}");
    assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_publish_that_was_given_up_is_never_sent() {
    let peer = Peer::bind().await;
    let config = config().publish_timeout(Duration::from_millis(50));
    let producer = Producer::connect_lazily(&peer.address, config);
    let topic = topic("orders");
    // The peer has taken the connection and says nothing, so nothing can be published yet.
    let silent = peer.accept_silently().await;
    let dropped = producer.publish(&topic, body("dropped")).now_or_never();
    assert_eq!(dropped, None);
    let late = soon(producer.publish(&topic, body("late"))).await;
    assert!(matches!(late, Err(PublishError::NotSent { .. })), "{late:?}");

    drop(silent);
    let mut broker = peer.accept().await;
    let confirming = async {
        assert_eq!(broker.published().await, "in time");
        broker.ok().await;
    };
    let (published, ()) = tokio::join!(soon(producer.publish(&topic, body("in time"))), confirming);
    assert_eq!(published, Ok(()));
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_taken_for_the_next_ones() {
    let peer = Peer::bind().await;
    let config = config().publish_timeout(Duration::from_millis(50));
    let (producer, mut broker) = connected(&peer, config).await;
    let topic = topic("orders");
    let late = soon(producer.publish(&topic, body("a"))).await;
    let Err(PublishError::Unconfirmed { reason, .. }) = late else {
        panic!("{late:?} is not Unconfirmed");
    };
    assert_eq!(&*reason, "no answer within 50ms");

    assert_eq!(broker.published().await, "a");
    broker.ok().await;
    let refusing = async {
        assert_eq!(broker.published().await, "b");
        broker.error(ErrorCode::PubFailed, "PUB failed").await;
    };
    let (refused, ()) = tokio::join!(soon(producer.publish(&topic, body("b"))), refusing);
    assert!(
        matches!(refused, Err(PublishError::Refused { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn publishes_wait_for_room_in_the_queue() {
    let peer = Peer::bind().await;
    // Room for one publish only.
    let (producer, mut broker) = connected(&peer, config().max_queued_bytes(150)).await;
    let topic = topic("orders");
    let publishes = join_all([
        producer.publish(&topic, body("a")),
        producer.publish(&topic, body("b")),
    ]);
    let confirming = async {
        assert_eq!(broker.published().await, "a");
        let mut byte = [0];
        assert!(
            broker.stream.try_read(&mut byte).is_err(),
            "the second publish did not wait"
        );
        broker.ok().await;
        assert_eq!(broker.published().await, "b");
        broker.ok().await;
    };
    let (published, ()) = tokio::join!(soon(publishes), confirming);
    assert_eq!(published, [Ok(()), Ok(())]);
}

#[tokio::test]
async fn a_publish_that_finds_no_room_in_time_was_not_sent() {
    let peer = Peer::bind().await;
    let config = config()
        .max_queued_bytes(150)
        .publish_timeout(Duration::from_millis(50));
    let producer = Producer::connect_lazily(&peer.address, config);
    let _silent = peer.accept_silently().await;
    let topic = topic("orders");
    let publishes = [
        producer.publish(&topic, body("queued")),
        producer.publish(&topic, body("no room")),
    ];
    for outcome in soon(join_all(publishes)).await {
        assert!(
            matches!(outcome, Err(PublishError::NotSent { .. })),
            "{outcome:?}"
        );
    }
}
