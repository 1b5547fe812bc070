//! A session without a broker, and the ways to take events that a paused clock shows best.

use std::{convert::Infallible, time::Duration};

use almanet::{
    Context, EventContext, Procedure, ProduceError, PushConsumer, Service, Session,
    transport::{InProcessTransport, PublishError},
};
use futures_util::StreamExt;
use tokio::time::Instant;

use super::tally::Tally;

async fn in_process() -> Session {
    Session::builder()
        .transport(InProcessTransport::new())
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn handlers_calls_and_channels_work_without_a_broker() {
    let session = in_process().await;
    let tallies = [Tally::default(), Tally::default()];
    let mut service = Service::new().procedure(Procedure::new(
        "test.double",
        |_: Context, number: u64| async move { Ok::<_, Infallible>(number * 2) },
    ));
    for (channel, tally) in ["one", "two"].into_iter().zip(&tallies) {
        let tally = tally.clone();
        service = service.consumer(PushConsumer::new(
            "numbers",
            channel,
            move |_: EventContext, number: u64| {
                let tally = tally.clone();
                async move { tally.add(number) }
            },
        ));
    }
    let running = service.start(&session).await.unwrap();
    assert_eq!(session.call::<u64>("test.double", &21).await.unwrap(), 42);
    for number in 0..100 {
        session.produce("numbers", &number).await.unwrap();
    }
    for tally in &tallies {
        tally.distinct(100).await;
        assert_eq!(tally.total(), 100);
    }
    running.stop().await;
    session.leave().await.unwrap();
    assert!(matches!(
        session.produce("numbers", &1).await,
        Err(ProduceError::Publish(PublishError::Closed))
    ));
}

#[tokio::test]
async fn what_nsqd_refuses_is_refused_in_process_too() {
    let session = in_process().await;
    let large = "a".repeat(1024 * 1024);
    assert!(matches!(
        session.produce("large", &large).await,
        Err(ProduceError::Publish(PublishError::TooLarge { .. }))
    ));
    // Nobody reads, so there is an end to it.
    let mut published = 0;
    let refused = loop {
        match session.emit_many("full", 1000).await {
            Ok(()) => published += 1000,
            Err(error) => break error,
        }
    };
    assert_eq!(published, 100_000);
    assert!(
        matches!(refused, ProduceError::Publish(PublishError::Refused { .. })),
        "{refused}"
    );
    // All or none: the batch that did not fit left nothing.
    let mut consumer = session
        .consume_topic::<u64>("full", "worker")
        .await
        .unwrap()
        .auto_ack();
    for _ in 0..100_000 {
        consumer.recv().await.unwrap().unwrap();
    }
    session.produce("full", &7777).await.unwrap();
    assert_eq!(consumer.recv().await.unwrap().unwrap(), 7777);
}

/// Publishes many small messages at once.
trait EmitMany {
    async fn emit_many(&self, topic: &str, count: u64) -> Result<(), ProduceError>;
}

impl EmitMany for Session {
    async fn emit_many(&self, topic: &str, count: u64) -> Result<(), ProduceError> {
        let mut batch = self.batch();
        for number in 0..count {
            batch.produce(topic, &number)?;
        }
        batch
            .commit()
            .await
            .map_err(|error| ProduceError::Publish(error.source))
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_taken_at_once_within_a_time_or_as_a_stream() {
    let session = in_process().await;
    let mut numbers = session.consume_topic::<u64>("numbers", "worker").await.unwrap();
    assert!(numbers.try_recv().is_none());
    let start = Instant::now();
    assert!(numbers.recv_timeout(Duration::from_secs(5)).await.is_none());
    assert_eq!(start.elapsed(), Duration::from_secs(5));

    session.produce("numbers", &1).await.unwrap();
    numbers.try_recv().unwrap().unwrap().ack().unwrap();
    session
        .produce_after("numbers", Duration::from_secs(2), &2)
        .await
        .unwrap();
    assert!(numbers.try_recv().is_none());
    let two = numbers
        .recv_timeout(Duration::from_secs(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((*two, start.elapsed()), (2, Duration::from_secs(7)));
    two.touch().unwrap();
    two.nack(Duration::from_secs(1)).unwrap();
    let two = numbers.next().await.unwrap().unwrap();
    assert_eq!((two.attempts(), start.elapsed()), (2, Duration::from_secs(8)));
    two.ack().unwrap();

    session.leave().await.unwrap();
    assert!(numbers.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_function_takes_events_until_it_has_enough() {
    let session = in_process().await;
    let mut numbers = session.consume_topic::<u64>("numbers", "worker").await.unwrap();
    for number in 1..=10 {
        session.produce("numbers", &number).await.unwrap();
    }
    let mut sum = 0;
    let enough = numbers
        .until(async |number| {
            let number = number.unwrap();
            sum += *number;
            number.ack().unwrap();
            (sum > 20).then_some(sum)
        })
        .await;
    assert_eq!(enough, Some(21));

    let start = Instant::now();
    let mut polls = Vec::new();
    let last = numbers
        .poll_every(Duration::from_secs(10), async |number| {
            let number = number.unwrap();
            polls.push(start.elapsed().as_secs());
            let value = *number;
            number.ack().unwrap();
            if value == 10 {
                session.produce("numbers", &11).await.unwrap();
            }
            if value == 11 {
                session
                    .produce_after("numbers", Duration::from_secs(1), &12)
                    .await
                    .unwrap();
            }
            (value == 12).then_some(value)
        })
        .await;
    assert_eq!(last, Some(12));
    assert_eq!(
        polls,
        [0, 0, 0, 0, 0, 10],
        "what came between two polls waited for the next"
    );
    session.leave().await.unwrap();
    assert_eq!(numbers.until(async |_| Some(())).await, None);
}

#[tokio::test]
async fn auto_ack_acknowledges_what_it_hands_out() {
    let session = in_process().await;
    let mut numbers = session
        .consume_topic::<u64>("numbers", "worker")
        .await
        .unwrap()
        .auto_ack();
    session.produce("numbers", &1).await.unwrap();
    session.produce("numbers", &2).await.unwrap();
    assert_eq!(numbers.recv().await.unwrap().unwrap(), 1);
    numbers.close().await;
    let mut rest = session.consume_topic::<u64>("numbers", "worker").await.unwrap();
    assert_eq!(*rest.recv().await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn ephemeral_channels_end_with_their_last_consumer() {
    let session = in_process().await;
    let first = session
        .consume_topic::<u64>("numbers", "own#ephemeral")
        .await
        .unwrap();
    session.produce("numbers", &1).await.unwrap();
    first.close().await;
    session.produce("numbers", &2).await.unwrap();
    let mut second = session
        .consume_topic::<u64>("numbers", "own#ephemeral")
        .await
        .unwrap();
    let event = second.recv().await.unwrap().unwrap();
    assert_eq!(
        *event, 2,
        "a topic without a channel keeps what is published, and the first channel's was gone"
    );
    event.ack().unwrap();
}
