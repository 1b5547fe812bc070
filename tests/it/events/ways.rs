//! The same program within the process and over a broker: one line says which. Within the process a paused clock shows to the
//! second when things happen; over a broker they do not happen earlier.

use std::{convert::Infallible, time::Duration};

use almanet::{
    Consumer, Context, EventContext, Procedure, ProduceError, PushConsumer, Received, Service, Session,
    transport::PublishError,
};
use almanet_tests::{TestBroker, unique};
use futures_util::StreamExt;
use tokio::{
    task::yield_now,
    time::{Instant, timeout},
};

use super::{
    in_process::in_process,
    tally::{PATIENCE, Tally},
};

const SECOND: Duration = Duration::from_secs(1);
/// A second where no clock is paused.
const SHORT: Duration = Duration::from_millis(100);
/// Timers and clocks are no more exact.
const EARLY: Duration = Duration::from_millis(5);

/// Serves, calls, publishes to two channels, and leaves.
async fn handlers_calls_and_channels(session: &Session) {
    let (topic, uri) = (unique("test.numbers"), unique("test.double"));
    let tallies = [Tally::default(), Tally::default()];
    let double = |_: Context, number: u64| async move { Ok::<_, Infallible>(number * 2) };
    let mut service = Service::new().procedure(Procedure::new(&uri, double));
    for (channel, tally) in ["one", "two"].into_iter().zip(&tallies) {
        let tally = tally.clone();
        let consumer = PushConsumer::new(&topic, channel, move |_: EventContext, number: u64| {
            let tally = tally.clone();
            async move { tally.add(number) }
        });
        service = service.consumer(consumer);
    }
    let running = service.start(session).await.unwrap();
    assert_eq!(session.call::<u64>(&uri, &21).await.unwrap(), 42);
    for number in 0..100 {
        session.produce(&topic, &number).await.unwrap();
    }
    for tally in &tallies {
        tally.distinct(100).await;
        assert_eq!(tally.total(), 100);
    }
    running.stop().await;
    session.leave().await.unwrap();
    assert!(matches!(
        session.produce(&topic, &1).await,
        Err(ProduceError::Publish(PublishError::Closed))
    ));
}

#[tokio::test]
async fn handlers_calls_and_channels_work_without_a_broker() {
    handlers_calls_and_channels(&in_process().await).await;
}

#[tokio::test]
async fn handlers_calls_and_channels_work_over_a_broker() {
    let broker = TestBroker::start().await;
    handlers_calls_and_channels(&broker.session().await).await;
}

/// The next event, which is on its way.
async fn arriving(numbers: &mut Consumer<u64>) -> Received<u64> {
    let looking = async {
        loop {
            match numbers.try_recv() {
                Some(event) => return event.unwrap(),
                None => yield_now().await,
            }
        }
    };
    timeout(PATIENCE, looking).await.expect("it comes in time")
}

/// How long nothing came for five `units`, an event that is deferred by two, and one that is given back for one.
async fn times_of_taking(session: &Session, unit: Duration) -> [Duration; 3] {
    let topic = unique("test.numbers");
    let mut numbers = session.consume_topic::<u64>(&topic, "worker").await.unwrap();
    assert!(numbers.try_recv().is_none());
    let start = Instant::now();
    assert!(numbers.recv_timeout(5 * unit).await.is_none());
    let nothing = start.elapsed();

    session.produce(&topic, &1).await.unwrap();
    let one = arriving(&mut numbers).await;
    assert_eq!(*one, 1);
    one.ack().unwrap();
    let start = Instant::now();
    session.produce_after(&topic, 2 * unit, &2).await.unwrap();
    assert!(numbers.try_recv().is_none());
    let two = numbers.recv_timeout(PATIENCE).await.unwrap().unwrap();
    assert_eq!((*two, two.attempts()), (2, 1));
    let deferred = start.elapsed();
    two.touch().unwrap();
    let start = Instant::now();
    two.nack(unit).unwrap();
    let two = timeout(PATIENCE, numbers.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((*two, two.attempts()), (2, 2));
    let given_back = start.elapsed();
    two.ack().unwrap();

    session.leave().await.unwrap();
    assert!(numbers.next().await.is_none());
    [nothing, deferred, given_back]
}

#[tokio::test(start_paused = true)]
async fn events_are_taken_at_once_within_a_time_or_as_a_stream_without_a_broker() {
    let times = times_of_taking(&in_process().await, SECOND).await;
    assert_eq!(times, [5 * SECOND, 2 * SECOND, SECOND]);
}

#[tokio::test]
async fn events_are_taken_at_once_within_a_time_or_as_a_stream_over_a_broker() {
    let broker = TestBroker::start().await;
    let times = times_of_taking(&broker.session().await, SHORT).await;
    let least = [5 * SHORT, 2 * SHORT, SHORT];
    let are_late = times
        .iter()
        .zip(least)
        .all(|(time, least)| *time + EARLY >= least);
    assert!(are_late, "{times:?}");
}

/// Takes six of ten by a function, and the rest by polls ten `units` apart; an event that comes a unit after the tenth ends
/// that. Returns when the polls gave each event.
async fn times_of_polls(session: &Session, unit: Duration) -> Vec<Duration> {
    let topic = unique("test.numbers");
    let mut numbers = session.consume_topic::<u64>(&topic, "worker").await.unwrap();
    for number in 1..=10 {
        session.produce(&topic, &number).await.unwrap();
    }
    let mut taken = Vec::new();
    let enough = numbers.until(async |number| {
        let number = number.unwrap();
        taken.push(*number);
        number.ack().unwrap();
        (taken.len() == 6).then_some("enough")
    });
    assert_eq!(timeout(PATIENCE, enough).await.unwrap(), Some("enough"));

    let start = Instant::now();
    let mut times = Vec::new();
    let polling = numbers.poll_every(10 * unit, async |number| {
        let number = number.unwrap();
        times.push(start.elapsed());
        taken.push(*number);
        number.ack().unwrap();
        if taken.len() == 10 {
            session.produce_after(&topic, unit, &11).await.unwrap();
        }
        (taken.len() == 11).then_some("all")
    });
    assert_eq!(timeout(2 * PATIENCE, polling).await.unwrap(), Some("all"));
    taken.sort_unstable();
    assert_eq!(taken, (1..=11).collect::<Vec<_>>());
    session.leave().await.unwrap();
    assert_eq!(numbers.until(async |_| Some(())).await, None);
    assert_eq!(numbers.poll_every(unit, async |_| Some(())).await, None);
    times
}

#[tokio::test(start_paused = true)]
async fn a_function_takes_events_until_it_has_enough_without_a_broker() {
    let times = times_of_polls(&in_process().await, SECOND).await;
    assert_eq!(
        times,
        [0, 0, 0, 0, 10].map(|seconds| seconds * SECOND),
        "what came between two polls waited for the next"
    );
}

#[tokio::test]
async fn a_function_takes_events_until_it_has_enough_over_a_broker() {
    let broker = TestBroker::start().await;
    let times = times_of_polls(&broker.session().await, SHORT).await;
    let [.., tenth, last] = times.as_slice() else {
        panic!("{times:?}")
    };
    // The tenth may have missed the first poll.
    let poll = tenth.as_millis() / (10 * SHORT).as_millis();
    let next = 10 * SHORT * u32::try_from(poll + 1).unwrap();
    assert!(*last + EARLY >= next, "{times:?}");
}

/// Acknowledges one of two as it is taken; the other goes to the next consumer.
async fn one_is_acknowledged(session: &Session) {
    let topic = unique("test.numbers");
    let consume = || session.consume_topic::<u64>(&topic, "worker");
    let mut numbers = consume().await.unwrap().auto_ack();
    session.produce(&topic, &1).await.unwrap();
    session.produce(&topic, &2).await.unwrap();
    let first = timeout(PATIENCE, numbers.recv()).await.unwrap().unwrap().unwrap();
    numbers.close().await;
    session.produce(&topic, &3).await.unwrap();
    let mut rest = consume().await.unwrap();
    let mut all = vec![first];
    for _ in 0..2 {
        let number = rest.recv_timeout(PATIENCE).await.unwrap().unwrap();
        all.push(*number);
        number.ack().unwrap();
    }
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3], "what was taken is not delivered again");
}

#[tokio::test]
async fn auto_ack_acknowledges_what_it_hands_out_without_a_broker() {
    one_is_acknowledged(&in_process().await).await;
}

#[tokio::test]
async fn auto_ack_acknowledges_what_it_hands_out_over_a_broker() {
    let broker = TestBroker::start().await;
    one_is_acknowledged(&broker.session().await).await;
}
