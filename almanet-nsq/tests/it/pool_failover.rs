//! Publishes that a node does not take, and what the pool does about them and about the node.

use std::time::Duration;

use almanet_nsq::{Duplicates, ErrorCode, PublishError};
use futures_util::future::join_all;

use crate::{
    peer::{body, soon, topic},
    pooling::{confirm, two},
};

#[tokio::test]
async fn what_a_broken_connection_left_unsent_goes_to_another_node_at_once() {
    let two = two(|config| config.duplicates(Duplicates::Never)).await;
    let (orders, invoices) = (topic("orders"), topic("invoices"));
    let pool = two.pool.through(two.nodes[0].address.as_str());
    let [mut one, mut other] = two.brokers;
    let breaking = async {
        assert_eq!(one.published().await, "refused");
        // nsqd works on nothing that follows what it refuses with a fatal error, so the second was not sent.
        one.error(ErrorCode::BadMessage, "PUB message too big").await;
        one.hang_up().await;
        confirm(&mut other, "unsent").await;
    };
    let publishes = async {
        tokio::join!(
            pool.publish(&orders, body("refused")),
            pool.publish(&invoices, body("unsent"))
        )
    };
    // The first node does not come back: nothing accepts its connections.
    let ((refused, published), ()) = tokio::join!(soon(publishes), breaking);
    assert!(
        matches!(refused, Err(PublishError::Refused { .. })),
        "{refused:?}"
    );
    assert_eq!(published, Ok(()));
}

#[tokio::test]
async fn without_leave_to_duplicate_an_unconfirmed_publish_is_not_sent_again() {
    let mut two = two(|config| config).await;
    let topic = topic("orders");
    let [mut one, mut other] = two.brokers;
    let breaking = async {
        assert_eq!(one.published().await, "a");
        drop(one);
    };
    let (published, ()) = tokio::join!(soon(two.pool.publish(&topic, body("a"))), breaking);
    let Err(error @ PublishError::Unconfirmed { address, .. }) = &published else {
        panic!("{published:?} is not Unconfirmed");
    };
    assert_eq!(**address, *two.nodes[0].address);
    assert!(error.may_have_happened());
    two.seen.lost(&two.nodes[0].address).await;
    let (published, ()) = tokio::join!(
        soon(two.pool.publish(&topic, body("b"))),
        confirm(&mut other, "b")
    );
    assert_eq!(published, Ok(()));
}

#[tokio::test]
async fn with_leave_to_duplicate_an_unconfirmed_publish_goes_to_another_node() {
    let two = two(|config| config.duplicates(Duplicates::Allowed)).await;
    let topic = topic("orders");
    let [mut one, mut other] = two.brokers;
    let breaking = async {
        assert_eq!(one.published().await, "a");
        drop(one);
        confirm(&mut other, "a").await;
    };
    let (published, ()) = tokio::join!(soon(two.pool.publish(&topic, body("a"))), breaking);
    assert_eq!(published, Ok(()));
}

#[tokio::test]
async fn with_leave_to_duplicate_a_node_that_does_not_confirm_in_time_is_passed_over() {
    let short = Duration::from_millis(50);
    let mut two = two(|config| config.duplicates(Duplicates::Allowed).confirm_timeout(short)).await;
    let topic = topic("orders");
    let [stalled, other] = &mut two.brokers;
    let confirming = async {
        assert_eq!(stalled.published().await, "a");
        confirm(other, "a").await;
    };
    let (published, ()) = tokio::join!(soon(two.pool.publish(&topic, body("a"))), confirming);
    assert_eq!(published, Ok(()));
    // It stays connected, but is avoided from here on.
    let shown = two.pool.nodes();
    assert!(shown[0].is_connected && shown[0].is_avoided, "{shown:?}");
    assert!(shown[1].is_connected && !shown[1].is_avoided, "{shown:?}");
    for _ in 0..3 {
        let (published, ()) = tokio::join!(soon(two.pool.publish(&topic, body("b"))), confirm(other, "b"));
        assert_eq!(published, Ok(()));
    }
}

#[tokio::test]
async fn the_error_names_every_node_that_was_tried() {
    let two = two(|config| config.duplicates(Duplicates::Allowed)).await;
    let topic = topic("orders");
    tokio::time::pause();
    let outcome = two.pool.publish(&topic, body("a")).await;
    let Err(error @ PublishError::AllFailed(each)) = &outcome else {
        panic!("{outcome:?} is not AllFailed");
    };
    assert_eq!(each.len(), 2);
    assert!(error.may_have_happened());
    let text = error.to_string();
    for node in &two.nodes {
        assert!(text.contains(&node.address), "{text}");
    }
}

#[tokio::test]
async fn what_a_broker_cannot_take_in_goes_to_another_and_the_broker_is_avoided() {
    let mut two = two(|config| config).await;
    let topic = topic("orders");
    let [full, mut other] = two.brokers;
    let mut full = full;
    let refusing = async {
        assert_eq!(full.published().await, "a");
        full.error(ErrorCode::PubFailed, "PUB failed").await;
        confirm(&mut other, "a").await;
    };
    let (published, ()) = tokio::join!(soon(two.pool.publish(&topic, body("a"))), refusing);
    assert_eq!(published, Ok(()));

    // The error was fatal, so the connection is made again; the node is avoided all the same.
    drop(full);
    let mut full = two.nodes[0].accept().await;
    two.seen.lost(&two.nodes[0].address).await;
    two.seen.connected(&two.nodes[0].address).await;
    for _ in 0..3 {
        let (published, ()) = tokio::join!(
            soon(two.pool.publish(&topic, body("b"))),
            confirm(&mut other, "b")
        );
        assert_eq!(published, Ok(()));
    }
    // When the other is gone, an avoided node is better than none.
    drop(other);
    two.seen.lost(&two.nodes[1].address).await;
    let (published, ()) = tokio::join!(soon(two.pool.publish(&topic, body("c"))), confirm(&mut full, "c"));
    assert_eq!(published, Ok(()));
    // It has confirmed, and is trusted again.
    assert!(!two.pool.nodes()[0].is_avoided);
}

#[tokio::test]
async fn a_node_that_failed_is_probed_after_a_while() {
    let once = Duration::from_millis(20);
    let two = two(|config| config.avoid(once..=once)).await;
    let topic = topic("orders");
    let [mut full, mut other] = two.brokers;
    let refusing = async {
        full.published().await;
        full.error(ErrorCode::PubFailed, "PUB failed").await;
        confirm(&mut other, "a").await;
    };
    let (published, ()) = tokio::join!(soon(two.pool.publish(&topic, body("a"))), refusing);
    assert_eq!(published, Ok(()));
    drop(full);
    let mut back = two.nodes[0].accept().await;
    let probed = async {
        back.published().await;
        back.ok().await;
    };
    let others = async {
        loop {
            other.published().await;
            other.ok().await;
        }
    };
    let publishing = async {
        loop {
            two.pool.publish(&topic, body("b")).await.unwrap();
        }
    };
    tokio::select! {
        () = soon(probed) => {}
        () = others => unreachable!(),
        () = publishing => unreachable!(),
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_not_tried_elsewhere() {
    let mut two = two(|config| config.duplicates(Duplicates::Allowed)).await;
    let topic = topic("orders");
    let [one, other] = &mut two.brokers;
    let refusing = async {
        one.published().await;
        one.error(ErrorCode::BadMessage, "PUB message too big").await;
    };
    let (refused, ()) = tokio::join!(soon(two.pool.publish(&topic, body("a"))), refusing);
    let Err(error @ PublishError::Refused { .. }) = &refused else {
        panic!("{refused:?} is not Refused");
    };
    assert!(error.is_refused() && !error.may_have_happened());
    soon(two.pool.close()).await;
    assert_eq!(other.next().await, None, "nothing was sent to the other");
}

#[tokio::test]
async fn several_messages_that_may_be_in_partly_are_not_sent_again_without_leave() {
    let mut two = two(|config| config).await;
    let topic = topic("orders");
    let [one, other] = &mut two.brokers;
    let refusing = async {
        one.next().await.unwrap();
        one.error(ErrorCode::MpubFailed, "MPUB failed").await;
    };
    let bodies = vec![body("a"), body("b")];
    let (refused, ()) = tokio::join!(soon(two.pool.publish_many(&topic, bodies)), refusing);
    assert!(refused.unwrap_err().may_have_happened());
    soon(two.pool.close()).await;
    assert_eq!(other.next().await, None, "nothing was sent to the other");
}

#[tokio::test]
async fn what_all_nodes_refuse_fails_at_once_with_all_of_them() {
    let two = two(|config| config).await;
    let topic = topic("orders");
    let refusing = join_all(two.brokers.into_iter().map(|mut broker| async move {
        broker.published().await;
        broker.error(ErrorCode::PubFailed, "PUB failed").await;
        broker
    }));
    let begun = std::time::Instant::now();
    let (refused, _brokers) = tokio::join!(soon(two.pool.publish(&topic, body("a"))), refusing);
    let error = refused.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited");
    assert!(error.is_refused(), "{error}");
    let PublishError::AllFailed(each) = &error else {
        panic!("{error:?} is not AllFailed");
    };
    assert_eq!(each.len(), 2);
    assert!(error.to_string().contains("E_PUB_FAILED"), "{error}");
}

#[tokio::test]
async fn while_all_nodes_are_down_publishes_wait_for_the_first_that_returns() {
    let mut two = two(|config| config).await;
    let topic = topic("orders");
    drop(two.brokers);
    for node in &two.nodes {
        two.seen.lost(&node.address).await;
    }
    let publishes = join_all((0..10).map(|_| two.pool.publish(&topic, body("a"))));
    let returning = async {
        let mut back = two.nodes[1].accept().await;
        let mut count = 0;
        while count < 10 {
            match back.next().await {
                Some(almanet_nsq_proto::Command::Mpub { bodies, .. }) => count += bodies.len(),
                Some(almanet_nsq_proto::Command::Pub { .. }) => count += 1,
                other => panic!("{other:?}"),
            }
            back.ok().await;
        }
        back
    };
    let (published, _back) = tokio::join!(soon(publishes), returning);
    assert!(published.iter().all(Result::is_ok), "{published:?}");
}

#[tokio::test]
async fn a_publish_for_which_no_node_returns_says_so_after_the_publish_timeout() {
    let mut two = two(|config| config).await;
    let topic = topic("orders");
    drop(two.brokers);
    let addresses = two.nodes.map(|node| node.address);
    for address in &addresses {
        two.seen.lost(address).await;
    }
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let outcome = two.pool.publish(&topic, body("a")).await;
    let Err(error @ PublishError::AllFailed(each)) = &outcome else {
        panic!("{outcome:?} is not AllFailed");
    };
    assert!(!error.may_have_happened());
    for (error, named) in each.iter().zip(&addresses) {
        let PublishError::NotSent { address, waited, .. } = error else {
            panic!("{error:?} is not NotSent");
        };
        assert_eq!((&**address, waited.as_secs()), (named.as_str(), 15));
    }
    assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
}
