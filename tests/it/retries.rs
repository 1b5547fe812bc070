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
    Call, CallError, Context, Procedure, Retry, RetryBudget, RpcError, Service, Session, procedure, service,
    transport::PublishError,
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

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum CountError {
    #[error("not before run {run}")]
    Early { run: u32 },
    #[error("never")]
    Never,
}

/// Fails twice, in the way that its payload names; with the number of its runs.
fn failing_twice(uri: &str) -> (Procedure, Arc<AtomicU32>) {
    let runs = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&runs);
    let procedure = Procedure::new(uri, move |_: Context, how: String| {
        let run = counter.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            match how.as_str() {
                _ if run >= 3 => Ok(run),
                "early" => Err(CountError::Early { run: 3 }),
                "never" => Err(CountError::Never),
                _ => panic!("at run {run}"),
            }
        }
    });
    (procedure, runs)
}

#[tokio::test]
async fn the_caller_says_which_errors_are_worth_another_attempt() {
    type Count = Call<u32, CountError>;
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let early =
        |call: Count| call.retry_if(|error| matches!(error, CallError::Remote(CountError::Early { .. })));
    let internal = |call: Count| call.retry_if(|error| matches!(error, CallError::Internal { .. }));
    let counted = async |how: &str, settings: &dyn Fn(Count) -> Count| {
        let uri = unique("test.failing");
        let (procedure, runs) = failing_twice(&uri);
        let _service = Service::new().procedure(procedure).start(&session).await.unwrap();
        let call = session.call::<u32>(&uri, how).expecting::<CountError>();
        let answer = settings(call).await;
        (answer, runs.load(Ordering::SeqCst))
    };

    assert!(matches!(counted("early", &early).await, (Ok(3), 3)));
    let (error, runs) = counted("never", &early).await;
    assert!(
        matches!(error, Err(CallError::Remote(CountError::Never))),
        "{error:?}"
    );
    assert_eq!(runs, 1);
    // As often as the policy says.
    let (error, runs) = counted("early", &|call| early(call).retry(Retry::default().attempts(2))).await;
    assert!(matches!(
        error,
        Err(CallError::Remote(CountError::Early { run: 3 }))
    ));
    assert_eq!(runs, 2);
    // Who knows what a procedure has done that panicked.
    let (error, runs) = counted("panic", &internal).await;
    assert!(matches!(error, Err(CallError::Internal { .. })), "{error:?}");
    assert_eq!(runs, 1);
    assert!(matches!(
        counted("panic", &|call| internal(call).idempotent()).await,
        (Ok(3), 3)
    ));
    // Without a word of it, an answer is final.
    assert_eq!(counted("early", &|call| call.idempotent()).await.1, 1);
}

#[tokio::test]
async fn errors_that_the_caller_leaves_out_are_final() {
    let broker = TestBroker::start().await;
    let (calling, sent) = failing(&broker, 1).await;
    let call = calling.call::<u32>(unique("test.counting"), &()).idempotent();
    let error = call.retry_if(|_| false).await.unwrap_err();
    assert!(matches!(error, CallError::Publish { .. }), "{error:?}");
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}

/// A contract of which one procedure may be run twice.
#[service(prepath = "almanet.test.retries")]
trait Shop {
    #[procedure(idempotent)]
    async fn price(&self, item: String) -> u32;

    #[procedure]
    async fn order(&self, item: String) -> u32;
}

struct OpenShop;

impl Shop for OpenShop {
    async fn price(&self, item: String) -> u32 {
        item.len() as u32
    }

    async fn order(&self, item: String) -> u32 {
        item.len() as u32
    }
}

#[tokio::test]
async fn the_client_of_a_contract_sends_what_is_idempotent_again() {
    let broker = TestBroker::embedded().await;
    let serving = broker.session().await;
    let _service = OpenShop.into_service().start(&serving).await.unwrap();

    let (calling, sent) = failing(&broker, 2).await;
    assert_eq!(ShopClient::new(&calling).price("tea".into()).await.unwrap(), 3);
    assert_eq!(sent.load(Ordering::SeqCst), 3);

    let (calling, sent) = failing(&broker, 2).await;
    let error = ShopClient::new(&calling).order("tea".into()).await.unwrap_err();
    assert!(matches!(error, CallError::Publish { .. }), "{error:?}");
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}
