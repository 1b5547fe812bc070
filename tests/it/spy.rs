//! A transport that lets a test see what passes, and change it.

use std::{
    fmt,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use almanet::{
    Session,
    transport::{
        Acknowledge, AnswerError, ChannelName, Delivery, NsqTransport, NsqTransportConfig, Publication,
        PublishError, Source, SubscribeError, SubscribeOptions, Subscription, TopicName, Transport,
    },
};
use almanet_tests::TestBroker;
use async_trait::async_trait;
use bytes::Bytes;

type OnPublish = dyn Fn(&Publication) -> Result<(), PublishError> + Send + Sync;
type OnReceive = dyn Fn(&TopicName, &mut Delivery) + Send + Sync;

/// NSQ, with a test's functions in between.
pub(crate) struct Spy {
    nsq: NsqTransport,
    on_publish: Box<OnPublish>,
    on_receive: Arc<OnReceive>,
}

impl Spy {
    pub(crate) async fn connect(broker: &TestBroker) -> Self {
        let addresses = [broker.address().to_owned()];
        Self {
            nsq: NsqTransport::connect(addresses, NsqTransportConfig::default())
                .await
                .unwrap(),
            on_publish: Box::new(|_| Ok(())),
            on_receive: Arc::new(|_, _| {}),
        }
    }

    /// Asks `on_publish` about each publication; one that it fails does not leave.
    pub(crate) fn on_publish(
        mut self,
        on_publish: impl Fn(&Publication) -> Result<(), PublishError> + Send + Sync + 'static,
    ) -> Self {
        self.on_publish = Box::new(on_publish);
        self
    }

    /// Shows each message to `on_receive` before it is handed out.
    pub(crate) fn on_receive(
        mut self,
        on_receive: impl Fn(&TopicName, &mut Delivery) + Send + Sync + 'static,
    ) -> Self {
        self.on_receive = Arc::new(on_receive);
        self
    }

    pub(crate) async fn session(self) -> Session {
        Session::builder().transport(self).connect().await.unwrap()
    }
}

impl fmt::Debug for Spy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spy")
    }
}

#[async_trait]
impl Transport for Spy {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        (self.on_publish)(&publication)?;
        self.nsq.publish(publication).await
    }

    async fn subscribe(
        &self,
        topic: &TopicName,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        let subscription = self.nsq.subscribe(topic, channel, options).await?;
        Ok(Subscription::new(Box::new(SpiedSource {
            topic: topic.clone(),
            subscription,
            on_receive: Arc::clone(&self.on_receive),
        })))
    }

    async fn close(&self) {
        self.nsq.close().await;
    }
}

struct SpiedSource {
    topic: TopicName,
    subscription: Subscription,
    on_receive: Arc<OnReceive>,
}

#[async_trait]
impl Source for SpiedSource {
    fn poll_recv(&mut self, cx: &mut task::Context<'_>) -> Poll<Option<Delivery>> {
        let next = futures_util::StreamExt::poll_next_unpin(&mut self.subscription, cx);
        next.map(|delivery| {
            delivery.map(|mut delivery| {
                (self.on_receive)(&self.topic, &mut delivery);
                spied(delivery)
            })
        })
    }

    async fn close(self: Box<Self>) {
        self.subscription.close().await;
    }
}

/// The delivery, but what is published with its answer is published by the transport, where it is seen.
fn spied(delivery: Delivery) -> Delivery {
    Delivery::new(
        delivery.body.clone(),
        delivery.id,
        delivery.timestamp,
        delivery.attempts,
        Arc::clone(&delivery.node),
        delivery.message_timeout,
        Box::new(SpiedDelivery(delivery)),
    )
}

struct SpiedDelivery(Delivery);

impl Acknowledge for SpiedDelivery {
    fn finish(self: Box<Self>) -> Result<(), AnswerError> {
        self.0.finish()
    }

    fn publish_and_finish(self: Box<Self>, _: &TopicName, _: Bytes) -> Result<(), Box<dyn Acknowledge>> {
        Err(self)
    }

    fn requeue(self: Box<Self>, delay: Duration) -> Result<(), AnswerError> {
        self.0.requeue(delay)
    }

    fn touch(&self) -> Result<(), AnswerError> {
        self.0.touch()
    }
}

/// Whether the topic is the reply topic of a session.
pub(crate) fn is_reply_topic(topic: &TopicName) -> bool {
    topic.as_str().starts_with("_rpc_._reply_.")
}

/// What is said of a publication that was cut off.
pub(crate) fn unconfirmed(publication: &Publication) -> PublishError {
    PublishError::Unconfirmed {
        address: "nowhere:4150".into(),
        topic: publication.topic.clone(),
        reason: "the wire was cut".into(),
    }
}
