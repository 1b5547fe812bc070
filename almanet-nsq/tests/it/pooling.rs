use std::time::Duration;

use almanet_nsq::{
    ConnectError, Duplicates, ErrorCode, ProducerConfig, ProducerPool, ProducerPoolConfig, PublishError,
};
use futures_util::{FutureExt, future::join_all};

use crate::{
    observed::{Observed, observed},
    peer::{Conversation, Peer, body, quick, soon, topic},
};

/// A pool over two nodes, and the nodes' sides of it.
struct Two {
    pool: ProducerPool,
    nodes: [Peer; 2],
    brokers: [Conversation; 2],
    seen: Observed,
}

async fn two(settings: impl FnOnce(ProducerPoolConfig) -> ProducerPoolConfig) -> Two {
    let mut nodes = [Peer::bind().await, Peer::bind().await];
    // In the order in which their turns come.
    nodes.sort_by(|one, other| one.address.cmp(&other.address));
    let (connection, seen) = observed(quick());
    let each = ProducerConfig::default().connection(connection);
    let config = settings(ProducerPoolConfig::default().producer(each));
    let addresses = nodes.each_ref().map(|node| node.address.clone());
    let (pool, one, other) = tokio::join!(
        soon(ProducerPool::connect(addresses, config)),
        nodes[0].accept(),
        nodes[1].accept()
    );
    let pool = pool.unwrap();
    let brokers = [one, other];
    Two {
        pool,
        nodes,
        brokers,
        seen,
    }
}

/// Takes the next publish, which has to be this one, and confirms it.
async fn confirm(broker: &mut Conversation, text: &str) {
    assert_eq!(broker.published().await, text);
    broker.ok().await;
}

#[tokio::test]
async fn publishes_go_to_the_nodes_in_turn() {
    let mut two = two(|config| config).await;
    let topic = topic("orders");
    let publishing = async {
        for text in ["a", "b", "c", "d"] {
            two.pool.publish(&topic, body(text)).await?;
        }
        Ok::<_, PublishError>(())
    };
    let [one, other] = &mut two.brokers;
    let confirming = async {
        confirm(one, "a").await;
        confirm(other, "b").await;
        confirm(one, "c").await;
        confirm(other, "d").await;
    };
    let (published, ()) = tokio::join!(soon(publishing), confirming);
    assert_eq!(published, Ok(()));
}

#[tokio::test]
async fn a_publish_goes_through_the_node_that_it_asks_for_while_that_is_there() {
    let mut two = two(|config| config).await;
    let topic = topic("orders");
    let pool = two.pool.through(two.nodes[1].address.as_str());
    for _ in 0..3 {
        let (published, ()) = tokio::join!(
            soon(pool.publish(&topic, body("a"))),
            confirm(&mut two.brokers[1], "a")
        );
        assert_eq!(published, Ok(()));
    }
    let [mut one, other] = two.brokers;
    drop(other);
    two.seen.lost(&two.nodes[1].address).await;
    let (published, ()) = tokio::join!(soon(pool.publish(&topic, body("b"))), confirm(&mut one, "b"));
    assert_eq!(published, Ok(()));
}

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

#[tokio::test]
async fn one_node_is_enough_to_connect_and_none_is_an_error_that_names_all() {
    let gone = [Peer::bind().await.address, Peer::bind().await.address];
    let config = || ProducerPoolConfig::default().producer(ProducerConfig::default().connection(quick()));
    let error = soon(ProducerPool::connect(gone.clone(), config()))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ConnectError::AllFailed(each) if each.len() == 2),
        "{error}"
    );

    let peer = Peer::bind().await;
    let addresses = [gone[0].clone(), peer.address.clone()];
    let (pool, mut broker) = tokio::join!(soon(ProducerPool::connect(addresses, config())), peer.accept());
    let pool = pool.unwrap();
    let topic = topic("orders");
    let (published, ()) = tokio::join!(soon(pool.publish(&topic, body("a"))), confirm(&mut broker, "a"));
    assert_eq!(published, Ok(()));
    let none = ProducerPool::connect(Vec::<String>::new(), config()).await;
    assert!(matches!(none, Err(ConnectError::NoAddress)));
}

#[tokio::test]
async fn a_closing_pool_waits_for_what_is_under_way_and_takes_nothing_more() {
    let two = two(|config| config).await;
    let topic = topic("orders");
    let [mut one, mut other] = two.brokers;
    let mut publishing = Box::pin(two.pool.publish(&topic, body("a")));
    assert!(publishing.as_mut().now_or_never().is_none());
    let mut closing = Box::pin(two.pool.close());
    assert!(closing.as_mut().now_or_never().is_none());
    assert_eq!(
        two.pool.publish(&topic, body("b")).await,
        Err(PublishError::Closed)
    );
    confirm(&mut one, "a").await;
    assert_eq!(soon(publishing).await, Ok(()));
    soon(closing).await;
    one.until_closed().await;
    other.until_closed().await;
}

#[tokio::test]
async fn a_closing_pool_waits_for_publishes_that_wait_for_a_node() {
    let mut two = two(|config| config).await;
    let topic = topic("orders");
    drop(two.brokers);
    for node in &two.nodes {
        two.seen.lost(&node.address).await;
    }
    let mut publishing = Box::pin(two.pool.publish(&topic, body("a")));
    assert!(publishing.as_mut().now_or_never().is_none());
    let mut closing = Box::pin(two.pool.close());
    assert!(closing.as_mut().now_or_never().is_none());
    let returning = async {
        let mut back = two.nodes[0].accept().await;
        confirm(&mut back, "a").await;
    };
    let (published, (), ()) = tokio::join!(soon(publishing), soon(closing), returning);
    assert_eq!(published, Ok(()));
}
