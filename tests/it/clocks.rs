//! Clocks of two machines differ, and calls are answered all the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use almanet::{CallError, Control, Service};
use almanet_tests::{TestBroker, echo, unique};

use crate::spy::Spy;

const HOUR: i64 = 3_600_000_000_000;

/// A session on a machine whose clock is ahead of the broker's, with the number of times it compared them.
async fn ahead_by(broker: &TestBroker, nanos: i64) -> (almanet::Session, Arc<AtomicU64>) {
    let compared = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&compared);
    let spy = Spy::connect(broker).await.on_receive(move |_, delivery| {
        // To be ahead is to see others behind.
        delivery.timestamp -= nanos;
        if Control::sniff(&delivery.body) {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (spy.session().await, compared)
}

#[tokio::test]
async fn a_service_whose_clock_is_wrong_answers_calls() {
    let broker = TestBroker::start().await;
    let calling = broker.session().await;
    for offset in [HOUR, -HOUR] {
        let (serving, compared) = ahead_by(&broker, offset).await;
        let uri = unique("test.echo");
        let procedure = echo(&uri).queue_time(Duration::from_secs(10));
        let _service = Service::new().procedure(procedure).start(&serving).await.unwrap();
        for text in ["one", "two", "three"] {
            let call = calling
                .call::<String>(&uri, text)
                .timeout(Duration::from_secs(20));
            assert_eq!(call.await.unwrap(), text);
        }
        // One comparison serves for a while, and a clock that is behind needs none.
        let expected = u64::from(offset > 0);
        assert_eq!(compared.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test]
async fn a_service_whose_clock_is_wrong_does_not_run_what_has_expired() {
    let broker = TestBroker::start().await;
    let calling = broker.session().await;
    let (serving, _) = ahead_by(&broker, HOUR).await;
    let uri = unique("test.echo");
    for _ in 0..2 {
        let call = calling
            .call::<String>(&uri, "")
            .timeout(Duration::from_millis(50));
        let error = call.await.unwrap_err();
        assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    }
    let service = Service::new().procedure(echo(&uri).concurrency(1));
    let service = service.start(&serving).await.unwrap();
    calling.call::<String>(&uri, "").await.unwrap();
    let expired: u64 = service.counts().map(|(_, counts)| counts.expired).sum();
    assert!((1..=2).contains(&expired), "{expired}");
}
