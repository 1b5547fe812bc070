use std::time::Duration;

use almanet_nsq::{
    ConnectError, ConnectionChange, Lookup, LookupConfig, Nodes, ProducerConfig, ProducerPool,
    ProducerPoolConfig, PublishError,
};
use futures_util::FutureExt;

use crate::{
    lookupd::Lookupd,
    observed::{Observed, observed},
    peer::{Conversation, Peer, body, quick, soon, topic},
};

async fn nodes_of(lookupd: &Lookupd) -> Nodes {
    let eager = LookupConfig::default().poll_interval(Duration::from_millis(2));
    let lookup = Lookup::new([lookupd.address.as_str()], eager).unwrap();
    soon(lookup.every_node()).await.unwrap()
}

fn config(publish_timeout: Duration) -> (ProducerPoolConfig, Observed) {
    let (connection, seen) = observed(quick());
    let each = ProducerConfig::default()
        .connection(connection)
        .publish_timeout(publish_timeout);
    (ProducerPoolConfig::default().producer(each), seen)
}

async fn confirm(broker: &mut Conversation, text: &str) {
    assert_eq!(broker.published().await, text);
    broker.ok().await;
}

#[tokio::test]
async fn a_publish_waits_for_the_first_node_that_is_found() {
    let lookupd = Lookupd::listing([]).await;
    let (config, _seen) = config(Duration::from_secs(15));
    let pool = ProducerPool::discover(nodes_of(&lookupd).await, config);
    let pool = soon(pool).await.unwrap();
    let topic = topic("t");
    let mut publishing = Box::pin(pool.publish(&topic, body("a")));
    assert!(publishing.as_mut().now_or_never().is_none());
    let node = Peer::bind().await;
    lookupd.lists([node.address.as_str()]);
    let confirming = async { confirm(&mut node.accept().await, "a").await };
    let (published, ()) = tokio::join!(soon(publishing), confirming);
    assert_eq!(published, Ok(()));
}

#[tokio::test]
async fn that_no_node_was_found_in_time_is_an_error_of_its_own() {
    let lookupd = Lookupd::listing([]).await;
    let (config, _seen) = config(Duration::from_millis(20));
    let pool = ProducerPool::discover(nodes_of(&lookupd).await, config);
    let pool = soon(pool).await.unwrap();
    let outcome = soon(pool.publish(&topic("orders"), body("a"))).await;
    assert!(matches!(outcome, Err(PublishError::NoNode { .. })), "{outcome:?}");
}

#[tokio::test]
async fn nodes_that_are_known_and_cannot_be_used_are_an_error() {
    let gone = Peer::bind().await.address;
    let lookupd = Lookupd::listing([gone.as_str()]).await;
    let (config, _seen) = config(Duration::from_secs(15));
    let error = soon(ProducerPool::discover(nodes_of(&lookupd).await, config)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&gone), "{error}");
}

#[tokio::test]
async fn a_node_that_is_no_longer_listed_is_drained_and_then_closed() {
    let (one, two) = (Peer::bind().await, Peer::bind().await);
    let lookupd = Lookupd::listing([one.address.as_str()]).await;
    let (config, mut seen) = config(Duration::from_secs(15));
    let discovering = ProducerPool::discover(nodes_of(&lookupd).await, config);
    let (pool, mut leaving) = tokio::join!(soon(discovering), one.accept());
    let pool = pool.unwrap();
    let topic = topic("t");
    let mut under_way = Box::pin(pool.publish(&topic, body("a")));
    assert!(under_way.as_mut().now_or_never().is_none());
    assert_eq!(leaving.published().await, "a");

    lookupd.lists([two.address.as_str()]);
    seen.saw(&two.address, ConnectionChange::Found).await;
    let mut staying = two.accept().await;
    seen.saw(&one.address, ConnectionChange::LetGo).await;
    for text in ["b", "c"] {
        let (published, ()) = tokio::join!(
            soon(pool.publish(&topic, body(text))),
            confirm(&mut staying, text)
        );
        assert_eq!(published, Ok(()));
    }
    // What was under way is still confirmed, and the connection is closed only after it.
    assert!(under_way.as_mut().now_or_never().is_none());
    leaving.ok().await;
    assert_eq!(soon(under_way).await, Ok(()));
    assert_eq!(leaving.next().await, None);
    seen.saw(&one.address, ConnectionChange::Closed).await;
}

#[tokio::test]
async fn a_node_that_is_found_later_is_left_to_the_others_to_find_first() {
    let (one, two) = (Peer::bind().await, Peer::bind().await);
    let lookupd = Lookupd::listing([one.address.as_str()]).await;
    let (config, mut seen) = config(Duration::from_secs(15));
    let config = config.settling_time(Duration::from_secs(3600));
    let discovering = ProducerPool::discover(nodes_of(&lookupd).await, config);
    let (pool, mut settled) = tokio::join!(soon(discovering), one.accept());
    let pool = pool.unwrap();
    lookupd.lists([one.address.as_str(), two.address.as_str()]);
    let mut found = two.accept().await;
    seen.connected(&two.address).await;
    let topic = topic("t");
    for _ in 0..4 {
        let (published, ()) = tokio::join!(soon(pool.publish(&topic, body("a"))), confirm(&mut settled, "a"));
        assert_eq!(published, Ok(()));
    }
    // It is used when it is asked for, and when there is no other.
    let asking = pool.through(two.address.as_str());
    let (published, ()) = tokio::join!(soon(asking.publish(&topic, body("b"))), confirm(&mut found, "b"));
    assert_eq!(published, Ok(()));
    drop(settled);
    seen.lost(&one.address).await;
    let (published, ()) = tokio::join!(soon(pool.publish(&topic, body("c"))), confirm(&mut found, "c"));
    assert_eq!(published, Ok(()));
}
