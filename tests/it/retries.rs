//! A call that failed is sent again, where that can help and does no harm.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use almanet::{
    CallError, Context, Procedure, Retry, RetryBudget, Service, Session, procedure, transport::PublishError,
};
use almanet_tests::{TestBroker, unique};

use crate::spy::{Spy, is_reply_topic, unconfirmed};

/// A session whose first `failures` calls are not confirmed, whatever becomes of them, with the number of calls sent.
async fn failing(broker: &TestBroker, failures: u32) -> (Session, Arc<AtomicU32>) {
    let sent = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&sent);
    let spy = Spy::connect(broker).await.on_publish(move |publication| {
        let is_call = !is_reply_topic(&publication.topic);
        if is_call && count.fetch_add(1, Ordering::SeqCst) < failures {
            return Err(unconfirmed(publication));
        }
        Ok(())
    });
    (spy.session().await, sent)
}

/// A procedure that counts its runs.
fn counting(uri: &str) -> Procedure {
    let runs = Arc::new(AtomicU32::new(0));
    Procedure::new(uri, move |_: Context, (): ()| {
        let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok::<_, Infallible>(run) }
    })
}

#[tokio::test]
async fn an_idempotent_call_that_may_not_have_left_is_sent_again() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let uri = unique("test.counting");
    let _service = Service::new()
        .procedure(counting(&uri))
        .start(&serving)
        .await
        .unwrap();

    let (calling, sent) = failing(&broker, 2).await;
    assert_eq!(calling.call::<u32>(&uri, &()).idempotent().await.unwrap(), 1);
    assert_eq!(sent.load(Ordering::SeqCst), 3);

    let (calling, sent) = failing(&broker, 3).await;
    let error = calling.call::<u32>(&uri, &()).idempotent().await.unwrap_err();
    assert!(
        matches!(
            &error,
            CallError::Publish {
                source: PublishError::Unconfirmed { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(sent.load(Ordering::SeqCst), 3, "three attempts by default");
}

#[tokio::test]
async fn a_call_that_is_not_idempotent_and_may_have_left_is_not_sent_again() {
    let broker = TestBroker::start().await;
    let uri = unique("test.counting");
    let (calling, sent) = failing(&broker, 1).await;
    let error = calling
        .call::<u32>(&uri, &())
        .retry(Retry::default())
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Publish { .. }), "{error:?}");
    assert_eq!(sent.load(Ordering::SeqCst), 1);

    let (calling, sent) = failing(&broker, 1).await;
    let call = calling.call::<u32>(&uri, &()).idempotent().retry(Retry::never());
    call.await.unwrap_err();
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_certainly_did_not_leave_is_sent_again_in_any_case() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let uri = unique("test.counting");
    let _service = Service::new()
        .procedure(counting(&uri))
        .start(&serving)
        .await
        .unwrap();
    let first = AtomicU32::new(0);
    let spy = Spy::connect(&broker).await.on_publish(move |publication| {
        if first.fetch_add(1, Ordering::SeqCst) == 0 {
            let (address, topic) = ("nowhere:4150".into(), publication.topic.clone());
            let waited = Duration::ZERO;
            return Err(PublishError::NotSent {
                address,
                topic,
                waited,
            });
        }
        Ok(())
    });
    let calling = spy.session().await;
    let call = calling.call::<u32>(&uri, &()).retry(Retry::default());
    assert_eq!(call.await.unwrap(), 1);
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_given_up_for_another() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.stuck_once");
    let runs = AtomicU32::new(0);
    let stuck_once = Procedure::new(&uri, move |_: Context, (): ()| {
        let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            if run == 1 {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(run)
        }
    });
    let service = Service::new()
        .procedure(stuck_once)
        .start(&serving)
        .await
        .unwrap();
    let policy = Retry::default().attempt_timeout(Duration::from_millis(300));
    let call = calling.call::<u32>(&uri, &()).idempotent().retry(policy);
    assert_eq!(call.await.unwrap(), 2);
    let ended = || {
        service
            .counts()
            .map(|(_, counts)| counts.timed_out + counts.cancelled)
            .sum::<u64>()
    };
    while ended() != 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_error_of_the_procedure_is_final() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.panics");
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let panics = Procedure::new(&uri, move |_: Context, (): ()| {
        runs.fetch_add(1, Ordering::SeqCst);
        async move {
            if true {
                panic!("always");
            }
            Ok::<_, Infallible>(())
        }
    });
    let _service = Service::new().procedure(panics).start(&serving).await.unwrap();
    let error = calling.call::<()>(&uri, &()).idempotent().await.unwrap_err();
    assert!(matches!(error, CallError::Internal { .. }), "{error:?}");
    assert_eq!(counted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn no_attempt_begins_after_the_deadline() {
    let broker = TestBroker::start().await;
    let (calling, sent) = failing(&broker, u32::MAX).await;
    let policy = Retry::default()
        .attempts(u32::MAX)
        .pauses(Duration::from_millis(10), Duration::from_millis(10));
    let call = calling.call::<()>(unique("test.any"), &()).idempotent();
    let error = call
        .retry(policy)
        .timeout(Duration::from_millis(100))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Publish { .. }), "{error:?}");
    assert!(sent.load(Ordering::SeqCst) > 1);
}

#[tokio::test]
async fn calls_of_a_session_share_a_budget_of_retries() {
    let broker = TestBroker::start().await;
    let sent = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&sent);
    let spy = Spy::connect(&broker).await.on_publish(move |publication| {
        count.fetch_add(1, Ordering::SeqCst);
        Err(unconfirmed(publication))
    });
    let budget = RetryBudget::default().percent(50).per_second(0);
    let calling = Session::builder()
        .transport(spy)
        .retry_budget(budget)
        .connect()
        .await
        .unwrap();
    for _ in 0..20 {
        let call = calling.call::<()>(unique("test.any"), &()).idempotent();
        call.await.unwrap_err();
    }
    assert_eq!(sent.load(Ordering::SeqCst), 30, "one retry for two calls");
}

/// Declared idempotent, so its callers send it again.
#[procedure(uri = "net.example.idempotent_by_declaration", idempotent)]
async fn declared() -> u32 {
    7
}

#[tokio::test]
async fn the_callers_of_a_procedure_that_is_declared_idempotent_send_it_again() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let _service = Service::new()
        .procedure(declared::procedure())
        .start(&serving)
        .await
        .unwrap();
    let (calling, sent) = failing(&broker, 1).await;
    assert_eq!(declared::call(&calling).await.unwrap(), 7);
    assert_eq!(sent.load(Ordering::SeqCst), 2);
}
