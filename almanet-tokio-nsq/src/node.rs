//! Publishing to one broker: a task that owns tokio-nsq's producer and matches its confirmations to the publishes.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use almanet::transport::{PublishError, TopicName};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_nsq::{NSQEvent, NSQProducer, NSQProducerConfig, NSQTopic};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::config::TokioNsqTransportConfig;

/// Publishes that are sent and unconfirmed. tokio-nsq has room for 10,000 events: beyond, it would stop reading.
const MAX_UNCONFIRMED: usize = 5000;
/// Publishes that wait to be sent.
const MAX_QUEUED: usize = 1000;
/// How long a connection that ended for good stays away, so that a broker that refuses it is not disturbed.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// One broker to publish to.
pub(crate) struct Node {
    pub(crate) address: Arc<str>,
    publish_timeout: Duration,
    is_connected: watch::Receiver<bool>,
    queue: mpsc::Sender<Publish>,
}

/// What is published, in tokio-nsq's types.
pub(crate) enum Content {
    One(Vec<u8>),
    Many(Vec<Vec<u8>>),
    Delayed(Vec<u8>, u32),
}

struct Publish {
    topic: Arc<NSQTopic>,
    content: Content,
    /// Set by whoever is first: the task that sends it, or the publisher who gives up.
    is_settled: Arc<AtomicBool>,
    outcome: oneshot::Sender<Outcome>,
}

enum Outcome {
    Confirmed,
    NotSent,
    Unconfirmed(&'static str),
}

impl Node {
    /// Starts to connect to `address`, for ever.
    pub(crate) fn start(
        address: String,
        config: &TokioNsqTransportConfig,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (queue, publishes) = mpsc::channel(MAX_QUEUED);
        let (connected, is_connected) = watch::channel(false);
        let connection = NodeTask {
            address: address.clone(),
            config: config.clone(),
            publishes,
            connected,
        };
        tasks.spawn(async move { stop.run_until_cancelled_owned(connection.run()).await });
        Self {
            address: address.into(),
            publish_timeout: config.publish_timeout,
            is_connected,
            queue,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        *self.is_connected.borrow()
    }

    /// Waits until the connection is there; `false` when it is not in time.
    pub(crate) async fn connected_within(&self, patience: Duration) -> bool {
        let mut is_connected = self.is_connected.clone();
        timeout(patience, is_connected.wait_for(|connected| *connected))
            .await
            .is_ok_and(|connected| connected.is_ok())
    }

    /// Publishes and waits for the confirmation.
    pub(crate) async fn publish(
        &self,
        topic: &TopicName,
        nsq_topic: Arc<NSQTopic>,
        content: Content,
    ) -> Result<(), PublishError> {
        let begun = Instant::now();
        let deadline = begun + self.publish_timeout;
        let not_sent = || PublishError::NotSent {
            address: Arc::clone(&self.address),
            topic: topic.clone(),
            waited: begun.elapsed(),
        };
        let unconfirmed = |reason: &str| PublishError::Unconfirmed {
            address: Arc::clone(&self.address),
            topic: topic.clone(),
            reason: reason.into(),
        };

        let (outcome, confirmation) = oneshot::channel();
        let is_settled = Arc::new(AtomicBool::new(false));
        let publish = Publish {
            topic: nsq_topic,
            content,
            is_settled: Arc::clone(&is_settled),
            outcome,
        };
        match timeout_at(deadline, self.queue.send(publish)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(PublishError::Closed),
            Err(_) => return Err(not_sent()),
        }
        match timeout_at(deadline, confirmation).await {
            Ok(Ok(Outcome::Confirmed)) => Ok(()),
            Ok(Ok(Outcome::NotSent)) => Err(not_sent()),
            Ok(Ok(Outcome::Unconfirmed(reason))) => Err(unconfirmed(reason)),
            Ok(Err(_)) if !is_settled.load(Ordering::Acquire) => Err(PublishError::Closed),
            Ok(Err(_)) => Err(unconfirmed("the transport was closed")),
            Err(_) if is_settled.swap(true, Ordering::AcqRel) => Err(unconfirmed("no answer in time")),
            Err(_) => Err(not_sent()),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("address", &self.address)
            .field("is_connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

struct NodeTask {
    address: String,
    config: TokioNsqTransportConfig,
    publishes: mpsc::Receiver<Publish>,
    connected: watch::Sender<bool>,
}

/// How one of tokio-nsq's producers ended.
enum End {
    /// The connection was lost. tokio-nsq makes it again, but it is not known which publish was the last one.
    Lost,
    /// The broker answered with an error. tokio-nsq takes all as fatal, and does not say which publish was meant.
    Refused,
    /// Nobody can publish any more.
    Unused,
}

impl NodeTask {
    /// Uses one producer after the other. A producer is not used across a reconnection: the confirmations that come
    /// after it would be taken for those of publishes before it.
    async fn run(mut self) {
        loop {
            let producer = NSQProducerConfig::new(&self.address)
                .set_shared(self.config.shared())
                .build();
            let mut unconfirmed = VecDeque::new();
            let end = self.publish_through(producer, &mut unconfirmed).await;
            self.connected.send_replace(false);
            let reason = match end {
                End::Lost => "the connection was lost",
                End::Refused => "the broker refused this publish or one near it",
                End::Unused => return,
            };
            tracing::warn!(
                address = %self.address, unconfirmed = unconfirmed.len(), reason,
                "connecting again"
            );
            for outcome in unconfirmed {
                // A publisher that has gone does not want to know.
                let _ = outcome.send(Outcome::Unconfirmed(reason));
            }
            if matches!(end, End::Refused) {
                sleep(RETRY_DELAY).await;
            }
        }
    }

    async fn publish_through(
        &mut self,
        mut producer: NSQProducer,
        unconfirmed: &mut VecDeque<oneshot::Sender<Outcome>>,
    ) -> End {
        let mut is_connected = false;
        loop {
            tokio::select! {
                biased;
                event = producer.consume() => match event {
                    Some(NSQEvent::Ok()) => {
                        if let Some(outcome) = unconfirmed.pop_front() {
                            let _ = outcome.send(Outcome::Confirmed);
                        }
                    }
                    Some(NSQEvent::Healthy()) if !is_connected => {
                        is_connected = true;
                        self.connected.send_replace(true);
                    }
                    Some(NSQEvent::Healthy() | NSQEvent::Unhealthy()) => return End::Lost,
                    Some(NSQEvent::Message(_)) => {}
                    None => return End::Refused,
                },
                publish = self.publishes.recv(), if is_connected && unconfirmed.len() < MAX_UNCONFIRMED => {
                    let Some(publish) = publish else { return End::Unused };
                    if publish.is_settled.swap(true, Ordering::AcqRel) {
                        continue;
                    }
                    let Publish { topic, content, outcome, .. } = publish;
                    let queued = match content {
                        Content::One(body) => producer.publish(&topic, body).await,
                        Content::Many(bodies) => producer.publish_multiple(&topic, bodies).await,
                        Content::Delayed(body, millis) => producer.publish_deferred(&topic, body, millis).await,
                    };
                    if queued.is_err() {
                        let _ = outcome.send(Outcome::NotSent);
                        return End::Lost;
                    }
                    unconfirmed.push_back(outcome);
                }
            }
        }
    }
}
