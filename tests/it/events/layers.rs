//! Layers around consumers: what they see, and what becomes of events when they fail.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use almanet::{
    DeadLetter, EventContext, EventHandler, EventRetry, Failure, Headers, IncomingEvent, PushConsumer,
    Reason, Service, Session,
    layer::{self, ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, LoadShedLayer, Next, TimeoutLayer},
    testing::MemoryBroker,
};
use tower::util::MapErrLayer;

use super::tally::Tally;

async fn session() -> Session {
    let builder = Session::builder().transport(MemoryBroker::new().transport());
    builder.connect().await.unwrap()
}

/// A consumer of numbers on `topic` that counts.
fn counting(topic: &str, tally: &Tally) -> PushConsumer {
    let tally = tally.clone();
    let consumer = PushConsumer::new(topic, "worker", move |_: EventContext, number: u64| {
        let tally = tally.clone();
        async move { tally.add(number) }
    });
    consumer.retry(EventRetry::fixed(Duration::from_secs(1)))
}

/// The next dead letter of `topic`, which stays there.
async fn letter(session: &Session, topic: &str) -> DeadLetter {
    let mut dead = session
        .consume_topic::<serde_json::Value>(format!("{topic}.dlq"), "test#ephemeral")
        .await
        .unwrap();
    let letters = session.dead_letters(topic).unwrap();
    let mut there = letters.list().await.unwrap();
    if there.is_empty() {
        // By a clock that does not run: each attempt may take minutes.
        let patience = Duration::from_secs(3600);
        dead.recv_timeout(patience).await.unwrap().unwrap().ack().unwrap();
        there = letters.list().await.unwrap();
    }
    there.remove(0)
}

type Log = Arc<Mutex<Vec<String>>>;

/// A layer that notes what comes by.
macro_rules! noting {
    ($log:expr, $name:literal) => {{
        let log: Log = Arc::clone(&$log);
        layer::from_fn(move |event: IncomingEvent, next: Next<EventHandler>| {
            let topic = event.context.topic().clone();
            log.lock().unwrap().push(format!("{} {topic}", $name));
            next.run(event)
        })
    }};
}

#[tokio::test(start_paused = true)]
async fn the_layers_of_a_service_are_around_those_of_each_consumer() {
    let (session, log, tally) = (session().await, Log::default(), Tally::default());
    let _running = Service::new()
        .consumer(counting("first", &tally).layer(noting!(log, "consumer")))
        .consumer(counting("second", &tally))
        .consumer_layer(noting!(log, "service"))
        .consumer_layer(noting!(log, "outermost"))
        .consumer(counting("later", &tally))
        .start(&session)
        .await
        .unwrap();
    for (number, topic) in ["first", "second", "later"].into_iter().enumerate() {
        session.produce(topic, &number).await.unwrap();
        tally.distinct(number + 1).await;
    }
    let expected = [
        "outermost first",
        "service first",
        "consumer first",
        "outermost second",
        "service second",
    ];
    assert_eq!(*log.lock().unwrap(), expected);
}

#[derive(Debug, thiserror::Error)]
#[error("the database is away")]
struct Away(#[source] std::io::Error);

#[tokio::test(start_paused = true)]
async fn what_a_layer_fails_with_is_the_failure_of_the_event() {
    let (session, tally) = (session().await, Tally::default());
    let guard = layer::from_fn(|event: IncomingEvent, next: Next<EventHandler>| async move {
        match event.context.headers().get("tenant") {
            Some(_) => next.run(event).await,
            None => Err(Failure::permanent("it belongs to nobody")),
        }
    });
    // Any error of a layer is one; the event is handled again.
    let broken = MapErrLayer::new(|_: Failure| Away(std::io::Error::other("refused")));
    let refuses = PushConsumer::new("refused", "worker", |_: EventContext, _: u64| async {
        Err::<(), _>(Failure::permanent("no"))
    });
    let _running = Service::new()
        .consumer(counting("guarded", &tally).layer(guard))
        .consumer(refuses.max_attempts(2).layer(broken))
        .start(&session)
        .await
        .unwrap();
    let mut headers = Headers::new();
    headers.insert("tenant", "seven");
    session.produce("guarded", &1).await.unwrap();
    session.produce_with("guarded", headers, &2).await.unwrap();
    let seen = tally.distinct(1).await;
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(2, 1)]);
    let guarded = letter(&session, "guarded").await;
    assert_eq!(
        (guarded.reason(), guarded.error()),
        (Reason::Permanent, "it belongs to nobody")
    );

    session.produce("refused", &3).await.unwrap();
    let refused = letter(&session, "refused").await;
    assert_eq!(
        (refused.reason(), refused.attempts(), refused.error()),
        (Reason::Attempts, 2, "the database is away: refused"),
        "the layer made another error of it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_a_failure_and_other_failures_pass_through_it() {
    let session = session().await;
    let consumer = PushConsumer::new("slow", "worker", |_: EventContext, number: u64| async move {
        match number {
            0 => pending().await,
            _ => Err::<(), _>(Failure::permanent("never")),
        }
    });
    let consumer = consumer
        .max_attempts(2)
        .layer(TimeoutLayer::new(Duration::from_secs(90)));
    let _running = consumer.start(&session).await.unwrap();
    session.produce("slow", &0).await.unwrap();
    let slow = letter(&session, "slow").await;
    assert_eq!(
        (slow.reason(), slow.attempts(), slow.error()),
        (Reason::Attempts, 2, "it took longer than a layer allows")
    );
    let letters = session.dead_letters("slow").unwrap();
    letters.discard(|_| true).await.unwrap();
    session.produce("slow", &1).await.unwrap();
    let refused = letter(&session, "slow").await;
    assert_eq!(
        (refused.reason(), refused.attempts(), refused.error()),
        (Reason::Permanent, 1, "never")
    );
    // What is no event passes through too.
    letters.discard(|_| true).await.unwrap();
    session.produce("slow", "text").await.unwrap();
    assert_eq!(letter(&session, "slow").await.reason(), Reason::Undecodable);
}

#[tokio::test(start_paused = true)]
async fn a_global_limit_is_shared_by_the_consumers_that_it_is_around() {
    let (session, tally) = (session().await, Tally::default());
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let consumer = |topic: &str| {
        let (tally, running, most) = (tally.clone(), Arc::clone(&running), Arc::clone(&most));
        PushConsumer::new(topic, "worker", move |context: EventContext, number: u64| {
            let (tally, running, most) = (tally.clone(), Arc::clone(&running), Arc::clone(&most));
            async move {
                assert_eq!(context.attempt(), 1, "it was taken away while it waited");
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(7)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                tally.add(number);
            }
        })
    };
    let _service = Service::new()
        .consumer(consumer("first"))
        .consumer(consumer("second"))
        .consumer_layer(GlobalConcurrencyLimitLayer::new(2))
        .start(&session)
        .await
        .unwrap();
    // They wait for longer than the message timeout, and are touched meanwhile.
    for number in 0..8 {
        let topic = if number % 2 == 0 { "first" } else { "second" };
        session.produce(topic, &number).await.unwrap();
    }
    tally.distinct(8).await;
    assert_eq!((most.load(Ordering::SeqCst), tally.total()), (2, 8));
}

#[tokio::test(start_paused = true)]
async fn what_a_limit_sheds_comes_again() {
    let (session, tally) = (session().await, Tally::default());
    let consumer = PushConsumer::new("numbers", "worker", {
        let tally = tally.clone();
        move |context: EventContext, number: u64| {
            let tally = tally.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(3)).await;
                tally.add(number * 10 + u64::from(context.attempt()));
            }
        }
    });
    let _running = consumer
        .retry(EventRetry::fixed(Duration::from_secs(5)))
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(LoadShedLayer::new())
        .start(&session)
        .await
        .unwrap();
    session.produce("numbers", &1).await.unwrap();
    session.produce("numbers", &2).await.unwrap();
    let seen = tally.distinct(2).await;
    let attempts: Vec<_> = seen.into_keys().map(|key| key % 10).collect();
    assert_eq!(
        attempts.iter().sum::<u64>(),
        3,
        "one ran at once, the other the second time: {attempts:?}"
    );
}
