//! Publishers and consumers that work until they are told to stop, and books of what they did.

use std::sync::Arc;

use almanet_nsq::{Consumer, Producer, ProducerPool, PublishError, TopicName};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    ledger::{Balance, Ledger, Node, Progress},
    soon,
};

/// How many publish at a time through one producer or one pool.
pub(super) const PUBLISHERS: usize = 8;

pub(super) struct Load {
    pub(super) topic: TopicName,
    ledger: Arc<Ledger>,
    publishing: JoinSet<()>,
    consuming: JoinSet<()>,
    publish_no_more: CancellationToken,
    consume_no_more: CancellationToken,
}

impl Load {
    pub(super) fn new(topic: TopicName) -> Self {
        Self {
            topic,
            ledger: Arc::default(),
            publishing: JoinSet::new(),
            consuming: JoinSet::new(),
            publish_no_more: CancellationToken::new(),
            consume_no_more: CancellationToken::new(),
        }
    }

    /// Publishes through this producer, several messages at a time and one after the other.
    pub(super) fn publish(&mut self, producer: Producer) {
        self.publish_by(move |topic, body| {
            let producer = producer.clone();
            async move { producer.publish(&topic, body).await.map(|()| None) }
        });
    }

    /// Publishes through this pool in the same way. The books say which node has what.
    pub(super) fn publish_pool(&mut self, pool: ProducerPool) {
        self.publish_by(move |topic, body| {
            let pool = pool.clone();
            async move { pool.publish_and_locate(&topic, body).await.map(Some) }
        });
    }

    fn publish_by<Publishing>(
        &mut self,
        publish: impl Fn(TopicName, Bytes) -> Publishing + Clone + Send + 'static,
    ) where
        Publishing: Future<Output = Result<Node, PublishError>> + Send + 'static,
    {
        for _ in 0..PUBLISHERS {
            let (ledger, topic, publish) = (Arc::clone(&self.ledger), self.topic.clone(), publish.clone());
            let stop = self.publish_no_more.clone();
            self.publishing.spawn(async move {
                while !stop.is_cancelled() {
                    let number = ledger.begin();
                    let body = Bytes::from(number.to_string());
                    let result = publish(topic.clone(), body).await;
                    ledger.published(number, result);
                }
            });
        }
    }

    /// Takes and finishes what this consumer gets.
    pub(super) fn consume(&mut self, mut consumer: Consumer) {
        let (ledger, stop) = (Arc::clone(&self.ledger), self.consume_no_more.clone());
        self.consuming.spawn(async move {
            loop {
                let delivery = tokio::select! {
                    delivery = consumer.recv() => delivery.expect("the runtime runs"),
                    () = stop.cancelled() => break,
                };
                let number = std::str::from_utf8(delivery.body()).unwrap().parse().unwrap();
                ledger.consumed(number, delivery.attempts());
                // On a connection that is gone the message comes again.
                let _ = delivery.finish();
            }
            consumer.close().await;
        });
    }

    /// The broker, which keeps messages in memory, has been replaced by another.
    ///
    /// Returns how many messages it can have taken with it: what is confirmed and has not come, and what every
    /// publisher can have been confirmed just now.
    pub(super) fn broker_was_replaced(&self) -> usize {
        self.ledger.begin_era(None) + PUBLISHERS
    }

    /// The same of one of a pool's nodes. What the others have confirmed has to come all the same.
    pub(super) fn node_was_replaced(&self, node: &str) -> usize {
        self.ledger.begin_era(Some(node.into())) + PUBLISHERS
    }

    /// Waits until the load has got so far.
    pub(super) async fn until(&self, is_so: impl FnMut(&Progress) -> bool) -> Progress {
        let mut progress = self.ledger.progress.subscribe();
        let reached = soon(progress.wait_for(is_so)).await;
        *reached.expect("the ledger has the sender")
    }

    /// Waits for so many confirmations and so many deliveries from now on.
    pub(super) async fn goes_on(&self, messages: u64) {
        let now = *self.ledger.progress.borrow();
        self.until(|later| {
            later.confirmed >= now.confirmed + messages && later.consumed >= now.consumed + messages
        })
        .await;
    }

    /// Publishes no more, waits until all publishes have returned and what was confirmed has come, and draws up the
    /// balance. Only what a replaced broker took with it need not come.
    pub(super) async fn settle(mut self) -> Balance {
        self.publish_no_more.cancel();
        while let Some(done) = soon(self.publishing.join_next()).await {
            done.unwrap();
        }
        let mut progress = self.ledger.progress.subscribe();
        let all_came = progress.wait_for(|now| now.owed == 0 || self.ledger.balance().missing == 0);
        // What does not come is in the balance.
        let _ = tokio::time::timeout(super::PATIENCE, all_came).await;
        self.consume_no_more.cancel();
        while let Some(done) = soon(self.consuming.join_next()).await {
            done.unwrap();
        }
        self.ledger.balance()
    }
}
