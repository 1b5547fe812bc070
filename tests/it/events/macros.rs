//! `#[consumer]`: alone, in a module and on an `impl` block.

use std::{sync::OnceLock, time::Duration};

use almanet::{
    Event, EventContext, Failure, Service, Session, consumer, service, testing::MemoryBroker,
    transport::InProcessTransport,
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::Instant,
};

use super::tally::Tally;

#[derive(Serialize, Deserialize, Event)]
#[event(topic = "test.numbered")]
pub struct Numbered {
    number: u64,
}

static ALONE: OnceLock<Tally> = OnceLock::new();

/// Counts what is numbered.
#[consumer(
    channel = "alone",
    concurrency = 2,
    max_attempts = 2,
    retry = "1ms..5ms",
    timeout = "10s"
)]
async fn alone(context: &EventContext, event: Numbered) -> Result<(), Failure> {
    if context.attempt() == 1 {
        return Err(Failure::retry("the first time never goes well"));
    }
    ALONE.get_or_init(Tally::default).add(event.number);
    Ok(())
}

static IN_MODULE: OnceLock<Tally> = OnceLock::new();

#[service(prepath = "test.module")]
mod module {
    use super::{IN_MODULE, Tally};

    #[procedure]
    pub async fn add(left: u64, right: u64) -> u64 {
        left + right
    }

    #[consumer(topic = "test.other", channel = "module")]
    pub async fn count(number: u64) {
        IN_MODULE.get_or_init(Tally::default).add(number);
    }
}

#[derive(Clone, Default)]
struct Counter {
    seen: Tally,
}

#[service]
impl Counter {
    #[consumer(broadcast)]
    async fn count(&self, event: Numbered) -> Result<(), std::io::Error> {
        self.seen.add(event.number);
        Ok(())
    }

    #[consumer(pattern = "test.o*", channel = "impl")]
    async fn others(&self, _context: EventContext, number: u64) {
        self.seen.add(1000 + number);
    }
}

#[tokio::test]
async fn annotated_functions_consume_alone_and_in_services() {
    let session = Session::builder()
        .transport(InProcessTransport::new())
        .connect()
        .await
        .unwrap();
    let counter = Counter::default();
    session.produce("test.other", &1).await.unwrap();
    let started = Service::new()
        .consumer(alone::consumer())
        .merge(module::service())
        .merge(counter.clone().into_service())
        .start(&session)
        .await
        .unwrap();
    session.emit(&Numbered { number: 7 }).await.unwrap();

    assert_eq!(module::add::call(&session, 2, 3).await.unwrap(), 5);
    ALONE.get_or_init(Tally::default).distinct(1).await;
    IN_MODULE.get_or_init(Tally::default).distinct(1).await;
    let seen = counter.seen.distinct(1).await;
    assert_eq!(seen.get(&7), Some(&1));
    // The pattern's channel came second, when the topic's backlog had gone to the first.
    session.produce("test.other", &2).await.unwrap();
    counter.seen.until(|seen| seen.contains_key(&1002)).await;
    started.stop().await;
}

/// Fails, and says when.
struct Failing {
    fixed: UnboundedSender<Instant>,
    doubling: UnboundedSender<Instant>,
}

#[service]
impl Failing {
    #[consumer(topic = "test.fixed", channel = "worker", max_attempts = 4, retry = "10s")]
    async fn fixed(&self, _number: u64) -> Result<(), Failure> {
        self.fixed.send(Instant::now()).unwrap();
        Err(Failure::retry("not yet"))
    }

    #[consumer(
        topic = "test.doubling",
        channel = "worker",
        max_attempts = 6,
        retry = "10s..50s"
    )]
    async fn doubling(&self, _number: u64) -> Result<(), Failure> {
        self.doubling.send(Instant::now()).unwrap();
        Err(Failure::retry("not yet"))
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_waits_as_long_as_its_annotation_says() {
    let builder = Session::builder().transport(MemoryBroker::new().transport());
    let session = builder.connect().await.unwrap();
    let ((fixed, mut at_fixed), (doubling, mut at_doubling)) = (unbounded_channel(), unbounded_channel());
    let service = Failing { fixed, doubling }.into_service();
    let _running = service.start(&session).await.unwrap();
    for topic in ["test.fixed", "test.doubling"] {
        session.produce(topic, &7).await.unwrap();
    }
    let late = Duration::from_millis(5);
    let mut before = at_fixed.recv().await.unwrap();
    for _ in 0..3 {
        let at = at_fixed.recv().await.unwrap();
        let (waited, whole) = (at - before, Duration::from_secs(10));
        assert!((whole..=whole + late).contains(&waited), "{waited:?}");
        before = at;
    }
    let mut before = at_doubling.recv().await.unwrap();
    for whole in [10, 20, 40, 50, 50].map(Duration::from_secs) {
        let at = at_doubling.recv().await.unwrap();
        let waited = at - before;
        // Chance takes up to half of it.
        assert!(
            (whole / 2..=whole + late).contains(&waited),
            "{whole:?}: {waited:?}"
        );
        before = at;
    }
    // It was the last attempt that the annotations grant.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(at_fixed.try_recv().is_err() && at_doubling.try_recv().is_err());
}
