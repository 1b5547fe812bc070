//! Listing dead letters and bringing them back.

use std::time::Duration;

use almanet::{
    Consumer, EventContext, Failure, ProduceError, PushConsumer, Reason, Received, ReplayError, Session,
    Undecodable,
    transport::{InProcessTransport, PublishError},
};
use almanet_tests::{TestBroker, unique};

use super::{
    refusing::Refusing,
    tally::{PATIENCE, Tally},
};

/// A consumer that refuses numbers below `limit` for good.
async fn refuse_below(
    session: &Session,
    topic: &str,
    channel: &str,
    limit: u64,
) -> (almanet::ServiceHandle, Tally) {
    let good = Tally::default();
    let consumer = PushConsumer::new(topic, channel, {
        let good = good.clone();
        move |_: EventContext, number: u64| {
            let good = good.clone();
            async move {
                if number < limit {
                    return Err(Failure::permanent(format!("{number} is below {limit}")));
                }
                good.add(number);
                Ok(())
            }
        }
    });
    (consumer.start(session).await.unwrap(), good)
}

/// Sees the dead letters of a topic come, beside the channel on which they wait.
struct Watcher(Consumer<serde_json::Value>);

impl Watcher {
    /// Sees those that come from now on.
    async fn of(session: &Session, topic: &str) -> Self {
        let channel = format!("{}#ephemeral", unique("watcher"));
        Self(
            session
                .consume_topic(format!("{topic}.dlq"), channel)
                .await
                .unwrap(),
        )
    }

    /// Waits for so many more.
    async fn until(&mut self, count: usize) {
        for _ in 0..count {
            let letter = self
                .0
                .recv_timeout(PATIENCE)
                .await
                .expect("a dead letter in time");
            letter.unwrap().ack().unwrap();
        }
    }
}

#[tokio::test]
async fn letters_are_listed_again_and_again_and_replayed_by_choice() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.letters");
    let mut watcher = Watcher::of(&session, &topic).await;
    let (running, _) = refuse_below(&session, &topic, "worker", 100).await;
    for number in 0..10 {
        session.produce(&topic, &number).await.unwrap();
    }
    session.produce(&topic, "nonsense").await.unwrap();
    watcher.until(11).await;
    running.stop().await;

    let letters = session
        .dead_letters(&topic)
        .unwrap()
        .quiet(Duration::from_millis(500));
    for _ in 0..2 {
        assert_eq!(
            letters.list().await.unwrap().len(),
            11,
            "a look takes nothing away"
        );
    }
    let few = letters.clone().limit(3);
    assert_eq!(few.list().await.unwrap().len(), 3, "no more than it was told");
    let (_running, good) = refuse_below(&session, &topic, "worker", 0).await;
    let replayed = letters
        .replay(|letter| letter.decode::<u64>().is_ok_and(|number| number < 4))
        .await
        .unwrap();
    assert_eq!((replayed.replayed, replayed.kept), (4, 7));
    assert_eq!(
        good.distinct(4).await.into_keys().collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );

    let replayed = letters.replay_by_reason(Reason::Permanent).await.unwrap();
    assert_eq!((replayed.replayed, replayed.kept), (6, 1));
    good.distinct(10).await;
    assert_eq!(good.total(), 10);

    let discarded = letters
        .discard(|letter| letter.reason() == Reason::Undecodable)
        .await
        .unwrap();
    assert_eq!((discarded.replayed, discarded.kept), (1, 0));
    assert_eq!(letters.list().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_replay_is_for_the_channel_that_gave_up_unless_all_shall_have_it() {
    let session = in_process().await;
    let topic = unique("test.channels");
    let mut watcher = Watcher::of(&session, &topic).await;
    let (failing, _) = refuse_below(&session, &topic, "failing", 100).await;
    let (_well, well) = refuse_below(&session, &topic, "well", 0).await;
    session.produce(&topic, &1).await.unwrap();
    session.produce(&topic, &2).await.unwrap();
    watcher.until(2).await;
    well.distinct(2).await;
    failing.stop().await;

    let (_repaired, repaired) = refuse_below(&session, &topic, "failing", 0).await;
    let letters = session
        .dead_letters(&topic)
        .unwrap()
        .quiet(Duration::from_millis(50));
    let first = letters
        .replay(|letter| letter.decode::<u64>() == Ok(1))
        .await
        .unwrap();
    assert_eq!(first.replayed, 1);
    repaired.distinct(1).await;
    let rest = letters.to_every_channel().replay_all().await.unwrap();
    assert_eq!(rest.replayed, 1);
    repaired.distinct(2).await;
    well.until(|seen| seen[&2] == 2).await;
    assert_eq!(well.now()[&1], 1, "a channel that was done got the event again");
}

#[tokio::test]
async fn what_fails_again_during_a_replay_is_replayed_once() {
    let session = in_process().await;
    let topic = unique("test.again");
    let mut watcher = Watcher::of(&session, &topic).await;
    let (_running, _) = refuse_below(&session, &topic, "worker", 100).await;
    for number in 0..5 {
        session.produce(&topic, &number).await.unwrap();
    }
    watcher.until(5).await;
    let letters = session
        .dead_letters(&topic)
        .unwrap()
        .quiet(Duration::from_millis(100));
    let replayed = letters.replay_all().await.unwrap();
    assert_eq!(
        (replayed.replayed, replayed.kept),
        (5, 5),
        "each failed again, and was kept"
    );
    assert_eq!(letters.list().await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_letter_that_cannot_be_replayed_stays() {
    let transport = Refusing::new("orders");
    let session = Session::builder()
        .transport(transport.clone())
        .connect()
        .await
        .unwrap();
    let consumer = PushConsumer::new("orders", "worker", |_: EventContext, _: u64| async {
        Err::<(), _>(Failure::permanent("no"))
    });
    transport.relent();
    let mut watcher = Watcher::of(&session, "orders").await;
    let running = consumer.start(&session).await.unwrap();
    session.produce("orders", &1).await.unwrap();
    watcher.until(1).await;
    running.stop().await;

    let letters = session
        .dead_letters("orders")
        .unwrap()
        .quiet(Duration::from_millis(50));
    transport.refuse();
    let error = letters.replay_all().await.unwrap_err();
    assert!(
        matches!(error, ReplayError::Publish { replayed: 0, .. }),
        "{error}"
    );
    assert_eq!(letters.list().await.unwrap().len(), 1);
    transport.relent();
    assert_eq!(letters.replay_all().await.unwrap().replayed, 1);
}

#[tokio::test]
async fn a_pull_consumer_can_put_aside_too() {
    let session = in_process().await;
    let mut numbers = session.consume_topic::<u64>("numbers", "worker").await.unwrap();
    session.produce("numbers", &7).await.unwrap();
    session.produce("numbers", "seven").await.unwrap();
    let seven = numbers.recv().await.unwrap().unwrap();
    numbers.dead_letter(seven, "a prime").await.unwrap();
    let text = numbers.recv().await.unwrap().unwrap_err();
    numbers.dead_letter_undecodable(text).await.unwrap();
    assert!(numbers.try_recv().is_none(), "both are out of the channel");

    let letters = session
        .dead_letters("numbers")
        .unwrap()
        .quiet(Duration::from_millis(50));
    let whys: Vec<_> = letters
        .list()
        .await
        .unwrap()
        .iter()
        .map(|letter| (letter.reason(), letter.error().to_owned()))
        .collect();
    assert_eq!(whys[0], (Reason::Permanent, "a prime".to_owned()));
    assert_eq!(whys[1].0, Reason::Undecodable);
}

#[tokio::test]
async fn a_pull_consumer_finishes_nothing_before_its_dead_letter_is_confirmed() {
    let transport = Refusing::new(".dlq");
    let builder = Session::builder().transport(transport.clone());
    let session = builder.connect().await.unwrap();
    let mut numbers = session.consume_topic::<u64>("numbers", "worker").await.unwrap();
    session.produce("numbers", &7).await.unwrap();
    session.produce("numbers", "seven").await.unwrap();
    let letters = session
        .dead_letters("numbers")
        .unwrap()
        .quiet(Duration::from_millis(50));

    let (seven, text) = number_and_text(&mut numbers, 1).await;
    let refused = [
        numbers.dead_letter(seven, "a prime").await,
        numbers.dead_letter_undecodable(text).await,
    ];
    for outcome in refused {
        assert!(
            matches!(outcome, Err(ProduceError::Publish(PublishError::Closed))),
            "{outcome:?}"
        );
    }
    transport.refused(2).await;
    assert_eq!(letters.list().await.unwrap().len(), 0);

    transport.relent();
    let (seven, text) = number_and_text(&mut numbers, 2).await;
    numbers.dead_letter(seven, "a prime").await.unwrap();
    numbers.dead_letter_undecodable(text).await.unwrap();
    let mut whys: Vec<_> = letters
        .list()
        .await
        .unwrap()
        .iter()
        .map(|letter| (letter.reason().as_str(), letter.attempts()))
        .collect();
    whys.sort_unstable();
    assert_eq!(whys, [("permanent", 2), ("undecodable", 2)], "one letter each");
    // Whatever was not finished would come now, before the last.
    numbers.close().await;
    session.produce("numbers", &8).await.unwrap();
    let mut rest = session.consume_topic::<u64>("numbers", "worker").await.unwrap();
    let last = rest.recv_timeout(PATIENCE).await.unwrap().unwrap();
    assert_eq!((*last, last.attempts()), (8, 1));
    last.ack().unwrap();
}

/// The next number and the next message that is none, in whichever order, each delivered for the `attempt`th time.
async fn number_and_text(numbers: &mut Consumer<u64>, attempt: u16) -> (Received<u64>, Undecodable) {
    let (mut number, mut text) = (None, None);
    for _ in 0..2 {
        match numbers.recv_timeout(PATIENCE).await.expect("it comes in time") {
            Ok(event) => {
                assert_eq!(event.attempts(), attempt);
                number = Some(event);
            }
            Err(message) => {
                assert_eq!(message.delivery().attempts, attempt);
                text = Some(message);
            }
        }
    }
    (number.unwrap(), text.unwrap())
}

async fn in_process() -> Session {
    Session::builder()
        .transport(InProcessTransport::new())
        .connect()
        .await
        .unwrap()
}
