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
type OnDeed = dyn Fn(Deed) + Send + Sync;
type OnReceive = dyn Fn(&TopicName, &mut Delivery) + Send + Sync;

/// What was done about a message that came from a topic, or went to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    /// What was published to it is confirmed; the body of the first message.
    Published(TopicName, Bytes),
    Finished(TopicName),
    /// Given back, whether it was said or the message was dropped.
    Requeued(TopicName),
    Touched(TopicName),
}

/// A transport, with a test's functions in between.
pub(crate) struct Spy {
    inner: Arc<dyn Transport>,
    on_publish: Box<OnPublish>,
    on_receive: Arc<OnReceive>,
    on_deed: Arc<OnDeed>,
}

impl Spy {
    pub(crate) async fn connect(broker: &TestBroker) -> Self {
        let addresses = [broker.address().to_owned()];
        let nsq = NsqTransport::connect(addresses, NsqTransportConfig::default()).await;
        Self::over(nsq.unwrap())
    }

    pub(crate) fn over(transport: impl Transport) -> Self {
        Self {
            inner: Arc::new(transport),
            on_publish: Box::new(|_| Ok(())),
            on_receive: Arc::new(|_, _| {}),
            on_deed: Arc::new(|_| {}),
        }
    }

    /// Tells `on_deed` what is done about messages, in order.
    pub(crate) fn on_deed(mut self, on_deed: impl Fn(Deed) + Send + Sync + 'static) -> Self {
        self.on_deed = Arc::new(on_deed);
        self
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
        let body = publication.bodies.first().cloned().unwrap_or_default();
        let deed = Deed::Published(publication.topic.clone(), body);
        self.inner.publish(publication).await?;
        (self.on_deed)(deed);
        Ok(())
    }

    async fn subscribe(
        &self,
        topic: &TopicName,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        let subscription = self.inner.subscribe(topic, channel, options).await?;
        Ok(Subscription::new(Box::new(SpiedSource {
            topic: topic.clone(),
            subscription,
            on_receive: Arc::clone(&self.on_receive),
            on_deed: Arc::clone(&self.on_deed),
        })))
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

struct SpiedSource {
    topic: TopicName,
    subscription: Subscription,
    on_receive: Arc<OnReceive>,
    on_deed: Arc<OnDeed>,
}

#[async_trait]
impl Source for SpiedSource {
    fn poll_recv(&mut self, cx: &mut task::Context<'_>) -> Poll<Option<Delivery>> {
        let next = futures_util::StreamExt::poll_next_unpin(&mut self.subscription, cx);
        next.map(|delivery| {
            delivery.map(|mut delivery| {
                (self.on_receive)(&self.topic, &mut delivery);
                let deeds = Deeds {
                    topic: self.topic.clone(),
                    on_deed: Arc::clone(&self.on_deed),
                };
                spied(delivery, deeds)
            })
        })
    }

    async fn close(self: Box<Self>) {
        self.subscription.close().await;
    }
}

/// Where it is told what is done about the messages of a topic.
struct Deeds {
    topic: TopicName,
    on_deed: Arc<OnDeed>,
}

impl Deeds {
    fn tell(&self, deed: fn(TopicName) -> Deed) {
        (self.on_deed)(deed(self.topic.clone()));
    }
}

/// The delivery, but what is published with its answer is published by the transport, where it is seen.
fn spied(delivery: Delivery, deeds: Deeds) -> Delivery {
    Delivery::new(
        delivery.body.clone(),
        delivery.id,
        delivery.timestamp,
        delivery.attempts,
        Arc::clone(&delivery.node),
        delivery.message_timeout,
        Box::new(SpiedDelivery {
            delivery: Some(delivery),
            deeds,
        }),
    )
}

struct SpiedDelivery {
    /// `None` once it is answered.
    delivery: Option<Delivery>,
    deeds: Deeds,
}

impl SpiedDelivery {
    fn answer(&mut self, deed: fn(TopicName) -> Deed) -> Delivery {
        self.deeds.tell(deed);
        self.delivery.take().unwrap()
    }
}

impl Acknowledge for SpiedDelivery {
    fn finish(mut self: Box<Self>) -> Result<(), AnswerError> {
        self.answer(Deed::Finished).finish()
    }

    fn publish_and_finish(self: Box<Self>, _: &TopicName, _: Bytes) -> Result<(), Box<dyn Acknowledge>> {
        Err(self)
    }

    fn requeue(mut self: Box<Self>, delay: Duration) -> Result<(), AnswerError> {
        self.answer(Deed::Requeued).requeue(delay)
    }

    fn touch(&self) -> Result<(), AnswerError> {
        self.deeds.tell(Deed::Touched);
        self.delivery.as_ref().unwrap().touch()
    }
}

impl Drop for SpiedDelivery {
    fn drop(&mut self) {
        if self.delivery.is_some() {
            self.deeds.tell(Deed::Requeued);
        }
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
