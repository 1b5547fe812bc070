//! What becomes of a call when the way to the broker fails, through a transport that fails on demand.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{self, Poll},
    time::Duration,
};

use almanet::{
    CallError, Context, Procedure, Service, Session,
    transport::{
        Acknowledge, AnswerError, ChannelName, Delivery, Duplicates, NsqTransport, NsqTransportConfig,
        Publication, PublishError, Source, SubscribeError, SubscribeOptions, Subscription, TopicName,
        Transport,
    },
};
use almanet_tests::{TestBroker, echo, unique};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

/// A transport over NSQ that fails as it is told.
#[derive(Debug)]
struct Faulty {
    nsq: NsqTransport,
    /// How many publications to reply topics go unconfirmed from now on.
    unconfirmed_replies: AtomicUsize,
    /// What subscriptions ask for instead of what they are told to.
    message_timeout: Option<Duration>,
    touches: watch::Sender<usize>,
    /// What was published, and whether it may be sent twice.
    published: mpsc::UnboundedSender<(TopicName, Duplicates)>,
}

impl Faulty {
    async fn connect(broker: &TestBroker) -> Self {
        let addresses = [broker.address().to_owned()];
        let nsq = NsqTransport::connect(addresses, NsqTransportConfig::default())
            .await
            .unwrap();
        let unconfirmed_replies = AtomicUsize::new(0);
        Self {
            nsq,
            unconfirmed_replies,
            message_timeout: None,
            touches: watch::Sender::new(0),
            published: mpsc::unbounded_channel().0,
        }
    }
}

#[async_trait]
impl Transport for Faulty {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        // Only one test listens.
        let _ = self
            .published
            .send((publication.topic.clone(), publication.duplicates));
        let is_reply = publication.topic.as_str().starts_with("_rpc_._reply_.");
        let fails = |left: usize| left.checked_sub(1);
        if is_reply
            && self
                .unconfirmed_replies
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails)
                .is_ok()
        {
            let (address, topic) = ("nowhere:4150".into(), publication.topic);
            return Err(PublishError::Unconfirmed {
                address,
                topic,
                reason: "the wire was cut".into(),
            });
        }
        self.nsq.publish(publication).await
    }

    async fn subscribe(
        &self,
        topic: &TopicName,
        channel: &ChannelName,
        mut options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        options.message_timeout = self.message_timeout.or(options.message_timeout);
        let subscription = self.nsq.subscribe(topic, channel, options).await?;
        Ok(Subscription::new(Box::new(Watched {
            subscription,
            touches: self.touches.clone(),
        })))
    }

    async fn close(&self) {
        self.nsq.close().await;
    }
}

/// A subscription that counts how often its messages are touched.
struct Watched {
    subscription: Subscription,
    touches: watch::Sender<usize>,
}

#[async_trait]
impl Source for Watched {
    fn poll_recv(&mut self, cx: &mut task::Context<'_>) -> Poll<Option<Delivery>> {
        let next = futures_util::StreamExt::poll_next_unpin(&mut self.subscription, cx);
        next.map(|delivery| delivery.map(|delivery| watched(delivery, self.touches.clone())))
    }

    async fn close(self: Box<Self>) {
        self.subscription.close().await;
    }
}

fn watched(delivery: Delivery, touches: watch::Sender<usize>) -> Delivery {
    Delivery::new(
        delivery.body.clone(),
        delivery.id,
        delivery.timestamp,
        delivery.attempts,
        Arc::clone(&delivery.node),
        delivery.message_timeout,
        Box::new(WatchedDelivery { delivery, touches }),
    )
}

struct WatchedDelivery {
    delivery: Delivery,
    touches: watch::Sender<usize>,
}

impl Acknowledge for WatchedDelivery {
    fn finish(self: Box<Self>) -> Result<(), AnswerError> {
        self.delivery.finish()
    }

    // Replies are published by way of the transport, whose confirmations go wrong.
    fn publish_and_finish(self: Box<Self>, _: &TopicName, _: Bytes) -> Result<(), Box<dyn Acknowledge>> {
        Err(self)
    }

    fn requeue(self: Box<Self>, delay: Duration) -> Result<(), AnswerError> {
        self.delivery.requeue(delay)
    }

    fn touch(&self) -> Result<(), AnswerError> {
        self.touches.send_modify(|touches| *touches += 1);
        self.delivery.touch()
    }
}

#[tokio::test]
async fn a_call_whose_answer_is_unconfirmed_is_run_again_and_answered() {
    let broker = TestBroker::start().await;
    let faulty = Faulty::connect(&broker).await;
    faulty.unconfirmed_replies.store(2, Ordering::SeqCst);
    let serving = Session::builder().transport(faulty).connect().await.unwrap();
    let calling = broker.session().await;
    let uri = unique("test.attempt");
    let attempt = Procedure::new(&uri, |context: Context, (): ()| async move {
        Ok::<_, Infallible>(context.attempt())
    });
    let _service = Service::new().procedure(attempt).start(&serving).await.unwrap();

    assert_eq!(calling.call::<u16>(&uri, &()).await.unwrap(), 3);
}

#[tokio::test]
async fn a_handler_that_outlives_the_message_timeout_is_not_run_twice() {
    let broker = TestBroker::start().await;
    let mut faulty = Faulty::connect(&broker).await;
    // The shortest that nsqd grants.
    faulty.message_timeout = Some(Duration::from_secs(1));
    let touches = faulty.touches.subscribe();
    let serving = Session::builder().transport(faulty).connect().await.unwrap();
    let calling = broker.session().await;
    let uri = unique("test.slow");
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let slow = Procedure::new(&uri, move |_: Context, (): ()| {
        runs.fetch_add(1, Ordering::SeqCst);
        let mut touches = touches.clone();
        async move {
            // A message is touched three times within its timeout, so this takes more than twice as long.
            let touched = touches.wait_for(|touches| *touches >= 7).await;
            touched.expect("the transport outlives the handler");
            Ok::<_, Infallible>(())
        }
    });
    let _service = Service::new().procedure(slow).start(&serving).await.unwrap();

    calling.call::<()>(&uri, &()).await.unwrap();
    assert_eq!(counted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_that_cannot_leave_says_whether_it_may_have() {
    let broker = TestBroker::start().await;
    let faulty = Faulty::connect(&broker).await;
    let session = Session::builder().transport(faulty).connect().await.unwrap();
    session.leave().await.unwrap();
    let error = session.call::<()>(unique("test.any"), &()).await.unwrap_err();
    assert!(matches!(error, CallError::SessionLeft), "{error:?}");
    let error = session.produce(unique("test.any"), &1).await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
}

#[tokio::test]
async fn events_and_replies_may_be_sent_twice_and_calls_may_not() {
    let broker = TestBroker::start().await;
    let mut faulty = Faulty::connect(&broker).await;
    let (sender, mut published) = mpsc::unbounded_channel();
    faulty.published = sender;
    let session = Session::builder().transport(faulty).connect().await.unwrap();
    let (uri, topic) = (unique("test.echo"), unique("test.topic"));
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&session)
        .await
        .unwrap();
    session.produce(&topic, &1).await.unwrap();
    session.call::<String>(&uri, "a").await.unwrap();
    let mut sent = Vec::new();
    for _ in 0..3 {
        let (topic, duplicates) = published.recv().await.unwrap();
        sent.push((topic.to_string(), duplicates));
    }
    let replies = format!("_rpc_._reply_.{}#ephemeral", session.id());
    let expected = [
        (topic, Duplicates::Allowed),
        (format!("_rpc_.{uri}"), Duplicates::Never),
        (replies, Duplicates::Allowed),
    ];
    assert_eq!(sent, expected);
}
