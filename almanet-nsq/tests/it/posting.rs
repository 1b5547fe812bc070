//! Messages whose publisher does not wait for the confirmation.

use std::{collections::HashMap, sync::Arc};

use almanet_nsq::{
    Duplicates, ErrorCode, FailedPost, PostFailed, Posted, ProducerConfig, ProducerPool, ProducerPoolConfig,
    PublishError,
};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::mpsc;

use crate::{
    observed::{Observed, observed},
    peer::{Conversation, Peer, body, quick, soon, topic},
};

const KEY: [u8; 16] = *b"the sixteen keys";

/// Notes who was told.
struct Told(mpsc::UnboundedSender<([u8; 16], FailedPost)>);

impl PostFailed for Told {
    fn post_failed(&self, key: [u8; 16], failed: FailedPost) {
        // The pool of a test that is over may close after it.
        let _ = self.0.send((key, failed));
    }
}

/// A pool, its nodes' sides of it, and what it tells those who post.
struct Posts {
    pool: ProducerPool,
    nodes: Vec<Peer>,
    brokers: Vec<Conversation>,
    seen: Observed,
    told: Arc<dyn PostFailed>,
    heard: mpsc::UnboundedReceiver<([u8; 16], FailedPost)>,
}

impl Posts {
    async fn over(count: usize, settings: impl FnOnce(ProducerPoolConfig) -> ProducerPoolConfig) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(Peer::bind().await);
        }
        // In the order in which their turns come.
        nodes.sort_by(|one, other| one.address.cmp(&other.address));
        let (connection, seen) = observed(quick());
        let each = ProducerConfig::default().connection(connection);
        let config = settings(ProducerPoolConfig::default().producer(each));
        let addresses: Vec<_> = nodes.iter().map(|node| node.address.clone()).collect();
        let accepting = async {
            let mut brokers = Vec::new();
            for node in &nodes {
                brokers.push(node.accept().await);
            }
            brokers
        };
        let (pool, brokers) = tokio::join!(soon(ProducerPool::connect(addresses, config)), accepting);
        let (sender, heard) = mpsc::unbounded_channel();
        Self {
            pool: pool.unwrap(),
            nodes,
            brokers,
            seen,
            told: Arc::new(Told(sender)),
            heard,
        }
    }

    fn post(&self, text: &'static str) -> Result<Posted, Bytes> {
        self.pool.post(&topic("questions"), body(text), &self.told, KEY)
    }

    fn take(&mut self, broker: usize) -> Conversation {
        self.brokers.remove(broker)
    }

    /// Waits until a post has failed.
    async fn failed(&mut self) -> Option<FailedPost> {
        let (key, failed) = soon(self.heard.recv()).await.unwrap();
        assert_eq!(key, KEY);
        Some(failed)
    }
}

#[tokio::test]
async fn a_post_that_arrives_tells_nobody() {
    let mut posts = Posts::over(1, |config| config).await;
    let mut broker = posts.take(0);
    for text in ["a", "b"] {
        let posted = posts.post(text).unwrap();
        assert_eq!(**posted.node(), *posts.nodes[0].address);
        assert_eq!(broker.published().await, text);
        broker.ok().await;
        if text == "a" {
            posted.arrived();
        } else {
            // Who wants to know is told.
            let node = soon(posts.pool.settle(posted, None)).await.unwrap();
            assert_eq!(*node, *posts.nodes[0].address);
        }
    }
    soon(posts.pool.close()).await;
    assert!(posts.heard.try_recv().is_err());
}

#[tokio::test]
async fn whoever_waits_for_a_post_after_all_hears_what_becomes_of_it_and_nobody_is_called() {
    for is_confirmed in [true, false] {
        let mut posts = Posts::over(1, |config| config).await;
        let mut broker = posts.take(0);
        let posted = posts.post("a").unwrap();
        let deciding = async {
            assert_eq!(broker.published().await, "a");
            // From here on it waits for the confirmation.
            tokio::task::yield_now().await;
            match is_confirmed {
                true => broker.ok().await,
                false => drop(broker),
            }
        };
        let (settled, ()) = tokio::join!(soon(posts.pool.settle(posted, None)), deciding);
        assert_eq!(settled.is_ok(), is_confirmed, "{settled:?}");
        assert!(posts.heard.try_recv().is_err());
    }
}

#[tokio::test]
async fn the_publisher_of_a_post_that_is_refused_is_called_and_told_why() {
    let mut posts = Posts::over(1, |config| config).await;
    let mut broker = posts.take(0);
    let posted = posts.post("a").unwrap();
    assert_eq!(broker.published().await, "a");
    broker.error(ErrorCode::BadMessage, "PUB message too big").await;
    let failed = posts.failed().await;
    let refused = soon(posts.pool.settle(posted, failed)).await;
    assert!(
        matches!(&refused, Err(PublishError::Refused { cause, .. }) if cause.code == ErrorCode::BadMessage),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_post_that_was_cut_off_is_unconfirmed_and_sent_again_only_where_it_may_be() {
    for duplicates in [Duplicates::Never, Duplicates::Allowed] {
        let mut posts = Posts::over(2, |config| config.duplicates(duplicates)).await;
        let mut one = posts.take(0);
        let mut other = posts.take(0);
        let posted = posts.post("a").unwrap();
        assert_eq!(one.published().await, "a");
        drop(one);
        let failed = posts.failed().await;
        let address = posts.nodes[1].address.clone();
        let settling = soon(posts.pool.settle(posted, failed));
        match duplicates {
            Duplicates::Allowed => {
                let confirming = async {
                    assert_eq!(other.published().await, "a");
                    other.ok().await;
                };
                let (settled, ()) = tokio::join!(settling, confirming);
                assert_eq!(settled.as_deref(), Ok(address.as_str()));
            }
            _ => {
                let settled = settling.await;
                assert!(
                    matches!(settled, Err(PublishError::Unconfirmed { .. })),
                    "{settled:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_a_broken_connection_left_unsent_goes_to_another_node() {
    let mut posts = Posts::over(2, |config| config).await;
    let (mut one, mut other) = (posts.take(0), posts.take(0));
    let through = posts.pool.through(posts.nodes[0].address.as_str());
    let (refused, unsent) = (topic("refused"), topic("unsent"));
    let refused = through.post(&refused, body("a"), &posts.told, [0; 16]).unwrap();
    let unsent = through.post(&unsent, body("b"), &posts.told, KEY).unwrap();
    assert_eq!(one.published().await, "a");
    // nsqd works on nothing that follows what it refuses with a fatal error, so the second was not sent.
    one.error(ErrorCode::BadMessage, "PUB message too big").await;
    one.hang_up().await;
    let mut failed = HashMap::new();
    for _ in 0..2 {
        failed.extend([soon(posts.heard.recv()).await.unwrap()]);
    }
    let confirming = async {
        assert_eq!(other.published().await, "b");
        other.ok().await;
    };
    let (node, ()) = tokio::join!(soon(posts.pool.settle(unsent, failed.remove(&KEY))), confirming);
    assert_eq!(node.as_deref(), Ok(posts.nodes[1].address.as_str()));
    let failed = failed.remove(&[0; 16]);
    assert!(soon(posts.pool.settle(refused, failed)).await.is_err());
}

#[tokio::test]
async fn a_post_that_is_dropped_before_it_is_written_is_never_sent() {
    let mut posts = Posts::over(1, |config| config).await;
    let mut broker = posts.take(0);
    // Nothing is written until this task waits for something.
    drop(posts.post("a").unwrap());
    let posted = posts.post("b").unwrap();
    assert_eq!(broker.published().await, "b");
    broker.ok().await;
    soon(posts.pool.settle(posted, None)).await.unwrap();
}

#[tokio::test]
async fn what_would_have_to_wait_or_can_not_be_published_is_given_back() {
    let mut posts = Posts::over(1, |config| config).await;
    assert_eq!(posts.post("").unwrap_err(), "");
    let mut broker = posts.take(0);
    let posted = posts.post("a").unwrap();
    assert_eq!(broker.published().await, "a");
    drop(broker);
    posts.seen.lost(&posts.nodes[0].address).await;
    assert_eq!(posts.post("b").unwrap_err(), "b", "there is no connection");
    let failed = posts.failed().await;
    assert!(soon(posts.pool.settle(posted, failed)).await.is_err());
    let mut broker = posts.nodes[0].accept().await;
    posts.seen.connected(&posts.nodes[0].address).await;
    // After a failure, outcomes are noted until one is good.
    assert_eq!(posts.post("c").unwrap_err(), "c");
    let orders = topic("orders");
    let confirming = async {
        assert_eq!(broker.published().await, "d");
        broker.ok().await;
    };
    let (published, ()) = tokio::join!(soon(posts.pool.publish(&orders, body("d"))), confirming);
    assert_eq!(published, Ok(()));
    let posted = posts.post("e").unwrap();
    assert_eq!(broker.published().await, "e");
    broker.ok().await;
    posted.arrived();
    soon(posts.pool.close()).await;
    assert_eq!(posts.post("f").unwrap_err(), "f");
    assert!(posts.heard.try_recv().is_err());
}

#[tokio::test]
async fn a_full_queue_gives_posts_back() {
    let size = 64 * 1024;
    let mut posts = Posts::over(1, |config| {
        let each = ProducerConfig::default()
            .connection(quick())
            .max_queued_bytes(size);
        config.producer(each)
    })
    .await;
    // The broker reads nothing, so what was posted stays.
    let _broker = posts.take(0);
    let large = Bytes::from(vec![1; size / 2]);
    let questions = topic("questions");
    let post = |body: &Bytes| posts.pool.post(&questions, body.clone(), &posts.told, KEY);
    let first = post(&large).unwrap();
    assert_eq!(post(&large).unwrap_err(), large);
    drop(first);
}

#[tokio::test]
async fn a_pool_that_closes_waits_for_what_was_posted() {
    let mut posts = Posts::over(1, |config| config).await;
    let mut broker = posts.take(0);
    let posted = posts.post("a").unwrap();
    assert_eq!(broker.published().await, "a");
    let mut closing = Box::pin(posts.pool.close());
    assert!(closing.as_mut().now_or_never().is_none());
    broker.ok().await;
    soon(closing).await;
    posted.arrived();
    assert!(posts.heard.try_recv().is_err());
}
