//! Delays that are longer than the brokers hold messages back: they are made of several.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use almanet::{
    Broker, BrokerConfig, Event, EventContext, EventRetry, Failure, ProduceError, PushConsumer, Session,
    transport::{NsqTransport, NsqTransportConfig, PublishError},
};
use almanet_tests::unique;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc::unbounded_channel,
    time::{Instant, timeout},
};

use super::tally::PATIENCE;
use crate::{nsq::program::Program, spy::Spy};

/// The longest that the brokers here hold a message back.
const STEP: Duration = Duration::from_millis(150);
/// Timers and clocks are no more exact.
const EARLY: Duration = Duration::from_millis(5);

async fn embedded() -> (Broker, String) {
    let broker = Broker::start(BrokerConfig::default().max_requeue_timeout(STEP))
        .await
        .unwrap();
    let address = broker.tcp_addr().to_string();
    (broker, address)
}

/// The real one, where its program is named.
fn nsqd() -> Option<(Program, String)> {
    let nsqd = Program::nsqd(&[format!("--max-req-timeout={}ms", STEP.as_millis())])?;
    let address = nsqd.address.to_string();
    Some((nsqd, address))
}

/// The number of the latest delivery.
#[derive(Clone, Default)]
struct Deliveries(Arc<AtomicU16>);

impl Deliveries {
    /// A session that knows what the broker grants, and counts here what it is delivered.
    async fn session(&self, address: &str) -> Session {
        let nsq = NsqTransport::connect([address.to_owned()], NsqTransportConfig::default());
        let latest = Arc::clone(&self.0);
        let spy = Spy::over(nsq.await.unwrap())
            .on_receive(move |_, delivery| latest.store(delivery.attempts, Ordering::SeqCst));
        let builder = Session::builder().transport(spy).max_deferral(STEP);
        builder.connect().await.unwrap()
    }

    fn latest(&self) -> u16 {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Serialize, Deserialize, Event)]
#[event(topic = "test.reminded")]
struct Reminded {
    after_ms: u64,
}

/// The broker refuses the whole delay and takes its steps, of which no handler sees any but the last.
async fn is_emitted_in_steps(address: &str) {
    let unaware = Session::connect(address).await.unwrap();
    let event = |after_ms| (Duration::from_millis(after_ms), Reminded { after_ms });
    let (delay, reminded) = event(500);
    let refused = unaware.emit_after(delay, &reminded).await.unwrap_err();
    let ProduceError::Publish(PublishError::Refused { cause, .. }) = &refused else {
        panic!("{refused}")
    };
    assert!(cause.to_string().starts_with("E_INVALID"), "{cause}");

    let deliveries = Deliveries::default();
    let session = deliveries.session(address).await;
    let (seen, mut handled) = unbounded_channel();
    let consumer = PushConsumer::of_event("worker", move |context: EventContext, event: Reminded| {
        let run = (event.after_ms, context.attempt());
        seen.send((run, deliveries.latest(), Instant::now())).unwrap();
        async {}
    });
    let _running = consumer.start(&session).await.unwrap();
    for (after_ms, is_stepped) in [(100, false), (500, true)] {
        let start = Instant::now();
        let (delay, reminded) = event(after_ms);
        session.emit_after(delay, &reminded).await.unwrap();
        let (run, delivery, at) = timeout(PATIENCE, handled.recv()).await.unwrap().unwrap();
        assert_eq!(run, (after_ms, 1), "a step counted as an attempt");
        let waited = at - start;
        assert!(waited + EARLY >= delay, "{delay:?}: {waited:?}");
        assert_eq!(delivery > 1, is_stepped, "{delay:?}: delivery {delivery}");
    }
}

/// The broker would cut a delay to what it grants, so that the event would come early.
async fn is_retried_in_steps(address: &str) {
    const DELAY: Duration = Duration::from_millis(400);
    let deliveries = Deliveries::default();
    let session = deliveries.session(address).await;
    let topic = unique("test.steps");
    let (seen, mut attempts) = unbounded_channel();
    let consumer = PushConsumer::new(&topic, "worker", move |context: EventContext, _: u64| {
        let run = (context.attempt(), deliveries.latest());
        seen.send((run, Instant::now())).unwrap();
        async { Err::<(), _>(Failure::retry("not yet")) }
    });
    let consumer = consumer.retry(EventRetry::fixed(DELAY));
    let _running = consumer.start(&session).await.unwrap();
    session.produce(&topic, &7).await.unwrap();
    let mut before = None;
    for (expected, delivery) in [(1, 1), (2, 4), (3, 7)] {
        let (run, at) = timeout(PATIENCE, attempts.recv()).await.unwrap().unwrap();
        assert_eq!(
            run,
            (expected, delivery),
            "each delay takes three steps, which are no attempts"
        );
        if let Some(before) = before.replace(at) {
            let waited: Duration = at - before;
            assert!(waited + EARLY >= DELAY, "{waited:?}");
        }
    }
}

#[tokio::test]
async fn the_embedded_broker_is_asked_for_steps_of_what_is_emitted_for_later() {
    let (_broker, address) = embedded().await;
    is_emitted_in_steps(&address).await;
}

#[tokio::test]
async fn the_embedded_broker_is_asked_for_steps_of_what_is_retried_later() {
    let (_broker, address) = embedded().await;
    is_retried_in_steps(&address).await;
}

#[tokio::test]
async fn nsqd_is_asked_for_steps_of_what_is_emitted_for_later() {
    let Some((_nsqd, address)) = nsqd() else { return };
    is_emitted_in_steps(&address).await;
}

#[tokio::test]
async fn nsqd_is_asked_for_steps_of_what_is_retried_later() {
    let Some((_nsqd, address)) = nsqd() else { return };
    is_retried_in_steps(&address).await;
}
