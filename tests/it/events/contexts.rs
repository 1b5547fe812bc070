//! What handlers learn of their events, and that none learns of another's.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use almanet::{EventContext, Failure, Headers, PushConsumer};
use almanet_tests::{TestBroker, unique};
use tokio::task::yield_now;

use super::tally::{PATIENCE, Tally};

fn numbered(number: u64) -> Headers {
    let mut headers = Headers::new();
    headers.insert("number", number.to_string());
    headers
}

#[tokio::test]
async fn a_context_that_is_kept_stays_that_of_its_event() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.kept");
    let (kept, tally) = (Arc::new(Mutex::new(Vec::new())), Tally::default());
    let is_fresh = Arc::new(AtomicBool::new(true));
    let consumer = PushConsumer::new(&topic, "worker", {
        let (kept, tally, is_fresh) = (Arc::clone(&kept), tally.clone(), Arc::clone(&is_fresh));
        move |context: EventContext, number: u64| {
            let (kept, tally, is_fresh) = (Arc::clone(&kept), tally.clone(), Arc::clone(&is_fresh));
            async move {
                is_fresh.fetch_and(!context.cancellation().is_cancelled(), Ordering::Relaxed);
                // Some are handled at once and some are not, some are kept and some are not.
                if number.is_multiple_of(5) {
                    yield_now().await;
                }
                if !number.is_multiple_of(3) {
                    kept.lock().unwrap().push((number, context.message_id(), context));
                }
                tally.add(number);
            }
        }
    });
    let running = consumer.start(&session).await.unwrap();
    for number in 0..60u64 {
        // Most travel in an envelope, and some as a bare payload behind those.
        let headers = if number.is_multiple_of(4) {
            Headers::new()
        } else {
            numbered(number)
        };
        session.produce_with(&topic, headers, &number).await.unwrap();
    }
    tally.distinct(60).await;
    running.stop().await;
    assert!(
        is_fresh.load(Ordering::Relaxed),
        "an attempt was over when it began"
    );

    let kept = kept.lock().unwrap();
    assert_eq!(kept.len(), 40);
    for (number, id, context) in &*kept {
        assert_eq!(context.message_id(), *id);
        assert_eq!((context.topic().as_str(), context.attempt()), (&*topic, 1));
        let expected = (!number.is_multiple_of(4)).then(|| number.to_string());
        assert_eq!(context.headers().get("number"), expected.as_deref());
        assert!(context.cancellation().is_cancelled(), "{number} is not over");
    }
}

#[tokio::test]
async fn the_dead_letter_of_an_event_that_fails_at_once_has_its_headers() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.headers");
    let consumer = PushConsumer::new(&topic, "worker", |context: EventContext, number: u64| {
        assert_eq!(context.headers().get("number"), Some("7"));
        std::future::ready(Err::<(), _>(Failure::permanent(number)))
    });
    let mut dead = session
        .consume_topic::<u64>(format!("{topic}.dlq"), "test")
        .await
        .unwrap();
    let running = consumer.start(&session).await.unwrap();
    session.produce_with(&topic, numbered(7), &7).await.unwrap();
    let letter = dead.recv_timeout(PATIENCE).await.unwrap().unwrap();
    assert_eq!((*letter, letter.headers().get("number")), (7, Some("7")));
    letter.ack().unwrap();
    running.stop().await;
}
