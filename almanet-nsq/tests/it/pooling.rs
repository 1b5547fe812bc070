//! Publishing to several nodes: whose turn it is, and how a pool begins and ends.

use almanet_nsq::{ConnectError, ProducerConfig, ProducerPool, ProducerPoolConfig, PublishError};
use futures_util::FutureExt;

use crate::{
    observed::{Observed, observed},
    peer::{Conversation, Peer, body, quick, soon, topic},
};

/// A pool over two nodes, and the nodes' sides of it.
pub(crate) struct Two {
    pub(crate) pool: ProducerPool,
    pub(crate) nodes: [Peer; 2],
    pub(crate) brokers: [Conversation; 2],
    pub(crate) seen: Observed,
}

pub(crate) async fn two(settings: impl FnOnce(ProducerPoolConfig) -> ProducerPoolConfig) -> Two {
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
pub(crate) async fn confirm(broker: &mut Conversation, text: &str) {
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
