//! Connections that are cut in the middle of a frame.

use almanet_nsq::PublishError;
use almanet_tests::{
    TestBroker,
    proxy::{Cut, Direction, Proxy},
};
use bytes::Bytes;

use super::{MAX_IN_FLIGHT, consumer, load::Load, next, producer, soon, unique_topic};

/// The size of the frame that says OK.
const OK_FRAME: u64 = 10;

#[tokio::test]
async fn a_confirmation_that_is_cut_anywhere_leaves_the_publish_unconfirmed_and_the_message_there() {
    let broker = TestBroker::start().await;
    let topic = unique_topic();
    let proxy = Proxy::to(broker.address()).await;
    let (producer, mut consumer) = (
        producer(proxy.address()).await,
        consumer([broker.address().to_owned()], &topic).await,
    );
    for bytes in 1..OK_FRAME {
        let how = if bytes % 2 == 0 { Cut::Fin } else { Cut::Reset };
        proxy.cut_after(Direction::ToClient, bytes, how);
        let text = format!("cut after {bytes}");
        let outcome = soon(producer.publish(&topic, Bytes::from(text.clone()))).await;
        assert!(
            matches!(outcome, Err(PublishError::Unconfirmed { .. })),
            "{outcome:?} after {bytes} bytes"
        );
        let delivery = next(&mut consumer).await;
        assert_eq!((&delivery.body()[..], delivery.attempts()), (text.as_bytes(), 1));
        delivery.finish().unwrap();
        proxy.accepted(1 + bytes).await;
        // A confirmed publish shows that the connection is whole again, and that nothing was published twice.
        let text = format!("after {bytes}");
        soon(producer.publish(&topic, Bytes::from(text.clone())))
            .await
            .unwrap();
        let delivery = next(&mut consumer).await;
        assert_eq!(&delivery.body()[..], text.as_bytes());
        delivery.finish().unwrap();
    }
}

#[tokio::test]
async fn a_publish_that_is_cut_anywhere_is_unconfirmed_and_not_there() {
    let broker = TestBroker::start().await;
    let topic = unique_topic();
    let proxy = Proxy::to(broker.address()).await;
    let (producer, mut consumer) = (
        producer(proxy.address()).await,
        consumer([broker.address().to_owned()], &topic).await,
    );
    let command = format!("PUB {topic}\n").len() as u64 + 4 + 4;
    let (mut cuts, how) = (1, [Cut::Fin, Cut::Reset]);
    for bytes in (1..command).step_by(3) {
        proxy.cut_after(Direction::ToBroker, bytes, how[(bytes % 2) as usize]);
        let outcome = soon(producer.publish(&topic, Bytes::from_static(b"lost"))).await;
        assert!(
            matches!(outcome, Err(PublishError::Unconfirmed { .. })),
            "{outcome:?} after {bytes} of {command} bytes"
        );
        cuts += 1;
        proxy.accepted(cuts).await;
    }
    soon(producer.publish(&topic, Bytes::from_static(b"there")))
        .await
        .unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!(&delivery.body()[..], b"there");
    delivery.finish().unwrap();
    assert!(consumer.try_recv().is_none());
}

#[tokio::test]
async fn a_message_or_its_answer_that_is_cut_comes_again() {
    let broker = TestBroker::start().await;
    let topic = unique_topic();
    let proxy = Proxy::to(broker.address()).await;
    let (producer, mut consumer) = (
        producer(broker.address()).await,
        consumer([proxy.address()], &topic).await,
    );
    // In the size, in the head, in the body of the message; and in the FIN, where it has been handed out before.
    for (direction, bytes) in [
        (Direction::ToClient, 3),
        (Direction::ToClient, 20),
        (Direction::ToClient, 37),
        (Direction::ToBroker, 9),
    ] {
        let accepted = proxy.counts().accepted;
        if direction == Direction::ToClient {
            proxy.cut_after(direction, bytes, Cut::Reset);
        }
        soon(producer.publish(&topic, Bytes::from_static(b"again")))
            .await
            .unwrap();
        if direction == Direction::ToBroker {
            let delivery = next(&mut consumer).await;
            proxy.cut_after(direction, bytes, Cut::Reset);
            let _ = delivery.finish();
        }
        proxy.accepted(accepted + 1).await;
        let delivery = next(&mut consumer).await;
        assert_eq!((&delivery.body()[..], delivery.attempts()), (&b"again"[..], 2));
        delivery.finish().unwrap();
    }
}

#[tokio::test]
async fn cuts_under_load_lose_nothing() {
    let broker = TestBroker::start().await;
    let (publishing, consuming) = (
        Proxy::to(broker.address()).await,
        Proxy::to(broker.address()).await,
    );
    let mut load = Load::new(unique_topic());
    load.consume(consumer([consuming.address()], &load.topic).await);
    load.publish(producer(publishing.address()).await);
    load.goes_on(100).await;
    for how in [Cut::Fin, Cut::Reset] {
        for direction in Direction::BOTH {
            for (proxy, bytes) in [(&publishing, 2003), (&consuming, 4001)] {
                let accepted = proxy.counts().accepted;
                proxy.cut_after(direction, bytes, how);
                proxy.accepted(accepted + 1).await;
                load.goes_on(100).await;
            }
        }
    }
    let lost = consuming.counts().accepted as usize - 1;
    let balance = load.settle().await;
    balance.check("cuts under load", lost * MAX_IN_FLIGHT, 0);
    balance.check_that_faults_struck();
}
