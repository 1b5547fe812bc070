//! Publishing events: together, later, with headers.

use std::time::Duration;

use almanet::{
    Broker, BrokerConfig, Codec, Event, EventContext, Headers, ProduceError, PushConsumer, Session,
    testing::MemoryBroker,
    transport::{
        ChannelName, Publication, PublishError, SubscribeError, SubscribeOptions, Subscription, TopicName,
        Transport,
    },
};
use almanet_tests::{TestBroker, unique};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};

use super::tally::{PATIENCE, Tally};
use crate::nsq::program::Program;

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
#[event(topic = "almanet.test.measured", version = 2)]
struct Measured {
    value: String,
}

#[tokio::test]
async fn an_event_has_a_topic_and_a_version() {
    assert_eq!((Measured::TOPIC, Measured::VERSION), ("almanet.test.measured", 2));
}

#[tokio::test]
async fn events_are_emitted_together() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let mut consumer = session.consume_broadcast::<Measured>().await.unwrap();
    let run = unique("run");
    let events: Vec<_> = (0..20)
        .map(|number| Measured {
            value: format!("{run} {number}"),
        })
        .collect();
    session.emit_all(&events).await.unwrap();
    session.emit_all::<Measured>([]).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 20 {
        let event = consumer.recv().await.unwrap().unwrap();
        if event.value.starts_with(&run) {
            seen.push(event.value.clone());
        }
        event.ack().unwrap();
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 20);
}

#[tokio::test]
async fn events_that_are_emitted_together_are_published_all_or_none() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let mut consumer = session.consume_broadcast::<Measured>().await.unwrap();
    let run = unique("run");
    let event = |value: String| Measured {
        value: format!("{run} {value}"),
    };
    // More than nsqd takes in one message.
    let large = "x".repeat(2 << 20);
    let events = [event("first".into()), event(large), event("last".into())];
    let error = session.emit_all(&events).await.unwrap_err();
    assert!(
        matches!(error, ProduceError::Publish(PublishError::TooLarge { .. })),
        "{error}"
    );
    session.emit(&event("alone".into())).await.unwrap();
    loop {
        let event = consumer.recv().await.unwrap().unwrap();
        let value = event.value.clone();
        event.ack().unwrap();
        if let Some(value) = value.strip_prefix(&run) {
            assert_eq!(value, " alone", "some of them were published");
            break;
        }
    }
}

/// The broker takes less in one message than the client believes, so it is the one that refuses; what another publishes at
/// the same time is not refused with it.
async fn broker_takes_all_or_none(address: &str) {
    let session = Session::connect(address).await.unwrap();
    let mut consumer = session.consume_broadcast::<Measured>().await.unwrap();
    let event = |value: &str| Measured { value: value.into() };
    let events = [event("first"), event(&"x".repeat(2 * SMALL)), event("last")];
    let beside = event("beside");
    let (refused, published) = tokio::join!(session.emit_all(&events), session.emit(&beside));
    assert!(
        matches!(refused, Err(ProduceError::Publish(PublishError::Refused { .. }))),
        "{refused:?}"
    );
    published.unwrap();
    session.emit(&event("alone")).await.unwrap();
    for expected in ["beside", "alone"] {
        let event = consumer.recv_timeout(PATIENCE).await.unwrap().unwrap();
        assert_eq!(event.value, expected, "some of them were published");
        event.ack().unwrap();
    }
}

/// The largest message of a broker that takes little, in bytes.
const SMALL: usize = 1000;

#[tokio::test]
async fn the_embedded_broker_takes_all_or_none_of_what_is_emitted_together() {
    let config = BrokerConfig::default().max_message_size(SMALL);
    let broker = Broker::start(config).await.unwrap();
    broker_takes_all_or_none(&broker.tcp_addr().to_string()).await;
}

#[tokio::test]
async fn nsqd_takes_all_or_none_of_what_is_emitted_together() {
    let Some(nsqd) = Program::nsqd(&[format!("--max-msg-size={SMALL}")]) else {
        return;
    };
    broker_takes_all_or_none(&nsqd.address.to_string()).await;
}

/// One publication is one command: `MPUB` where there are several messages.
#[tokio::test]
async fn events_that_are_emitted_together_are_one_publication() {
    let (transport, mut published) = Recording::new();
    let builder = Session::builder().transport(transport);
    let session = builder.connect().await.unwrap();
    let events: Vec<_> = (0..20)
        .map(|number| Measured {
            value: number.to_string(),
        })
        .collect();
    session.emit_all(&events).await.unwrap();
    let mut batch = session.batch();
    for event in &events {
        batch.emit(event).unwrap();
        batch.produce("other", &event.value).unwrap();
    }
    batch.commit().await.unwrap();
    for topic in [Measured::TOPIC, Measured::TOPIC, "other"] {
        let publication = published.recv().await.unwrap();
        assert_eq!(
            (publication.topic.as_str(), publication.bodies.len()),
            (topic, 20)
        );
    }
    assert!(published.try_recv().is_err());
}

/// A transport that takes down what is published.
#[derive(Debug)]
struct Recording(UnboundedSender<Publication>);

impl Recording {
    fn new() -> (Self, UnboundedReceiver<Publication>) {
        let (sender, published) = unbounded_channel();
        (Self(sender), published)
    }
}

#[async_trait]
impl Transport for Recording {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.0.send(publication).unwrap();
        Ok(())
    }

    async fn subscribe(
        &self,
        _: &TopicName,
        _: &ChannelName,
        _: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        Err(SubscribeError::Closed)
    }

    async fn close(&self) {}
}

#[tokio::test(start_paused = true)]
async fn a_deferred_event_comes_on_time_days_later() {
    const DAY: Duration = Duration::from_secs(86_400);
    let builder = Session::builder().transport(MemoryBroker::new().transport());
    let session = builder.connect().await.unwrap();
    let (seen, mut handled) = tokio::sync::mpsc::unbounded_channel();
    let consumer = PushConsumer::new("reminders", "worker", move |context: EventContext, days: u32| {
        seen.send((days, context.attempt(), Instant::now())).unwrap();
        async {}
    });
    let _running = consumer.start(&session).await.unwrap();
    let start = Instant::now();
    for days in [3, 1] {
        session
            .produce_after("reminders", days * DAY, &days)
            .await
            .unwrap();
    }
    for expected in [1, 3] {
        let (days, attempt, at) = handled.recv().await.unwrap();
        assert_eq!((days, attempt), (expected, 1), "steps are no attempts");
        let late = (at - start).abs_diff(days * DAY);
        assert!(late < Duration::from_secs(1), "{late:?}");
    }
}

#[tokio::test]
async fn headers_travel_in_an_envelope_that_consumers_unwrap() {
    let broker = TestBroker::start().await;
    for codec in [Codec::Json, Codec::MessagePack] {
        let session = broker.session_with(|builder| builder.codec(codec)).await;
        let topic = unique("test.headers");
        let mut consumer = session.consume_topic::<String>(&topic, "worker").await.unwrap();
        let mut headers = Headers::new();
        headers.insert("tenant", "seven");
        session.produce_with(&topic, headers, "Aidar").await.unwrap();
        session.produce(&topic, "Sara").await.unwrap();
        for _ in 0..2 {
            let event = consumer.recv().await.unwrap().unwrap();
            let expected = (event.as_str() == "Aidar").then_some("seven");
            assert_eq!(event.headers().get("tenant"), expected);
            event.ack().unwrap();
        }
    }
}

#[tokio::test]
async fn a_broadcast_is_for_every_instance_from_when_it_joined() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.broadcast");
    session.produce(&topic, &0).await.unwrap();
    // A channel takes what was published before there was any.
    let first = session.consume_topic::<u64>(&topic, "other").await.unwrap();
    let (one, two) = (Tally::default(), Tally::default());
    let mut running = Vec::new();
    for tally in [&one, &two] {
        let tally = tally.clone();
        let consumer = PushConsumer::broadcast(&topic, move |_: EventContext, number: u64| {
            let tally = tally.clone();
            async move { tally.add(number) }
        });
        running.push(consumer.start(&session).await.unwrap());
    }
    for number in 1..=10 {
        session.produce(&topic, &number).await.unwrap();
    }
    for tally in [&one, &two] {
        let seen = tally.distinct(10).await;
        assert!(
            seen.iter()
                .all(|(number, count)| (1..=10).contains(number) && *count == 1),
            "{seen:?}"
        );
    }
    first.close().await;
}
