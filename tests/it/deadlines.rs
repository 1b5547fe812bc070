//! Deadlines travel: into handlers, and on from there.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use almanet::{CallError, Context, Procedure, Service, Session, testing::MemoryBroker};
use almanet_tests::{TestBroker, echo, unique};

/// A procedure that answers with how many milliseconds its caller still waits.
fn remaining(uri: &str) -> Procedure {
    Procedure::new(uri, |context: Context, (): ()| async move {
        let remaining = context.remaining().unwrap();
        Ok::<_, Infallible>(u64::try_from(remaining.as_millis()).unwrap())
    })
}

/// How a handler makes the call that this test is about.
#[derive(Clone, Copy, Debug)]
enum By {
    AnotherSession,
    ContextInATask,
    Detached,
}

/// A procedure that asks `inner` how much time there is.
fn relay(uri: &str, inner: &str, by: By, another: &Session) -> Procedure {
    let (inner, another) = (inner.to_owned(), another.clone());
    Procedure::new(uri, move |context: Context, (): ()| {
        let (inner, another) = (inner.clone(), another.clone());
        async move {
            let answer = match by {
                By::AnotherSession => another.call::<u64>(&inner, &()).await,
                By::ContextInATask => {
                    let asking =
                        async move { context.session().call::<u64>(&inner, &()).into_future().await };
                    tokio::spawn(asking).await.unwrap()
                }
                By::Detached => context.session().call::<u64>(&inner, &()).detached().await,
            };
            Ok::<_, Infallible>(answer.unwrap())
        }
    })
}

#[tokio::test]
async fn what_a_handler_calls_has_no_more_time_than_the_handler() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let inner = unique("test.inner");
    let _inner = Service::new()
        .procedure(remaining(&inner))
        .start(&serving)
        .await
        .unwrap();
    for by in [By::AnotherSession, By::ContextInATask, By::Detached] {
        let outer = unique("test.outer");
        let _outer = Service::new()
            .procedure(relay(&outer, &inner, by, &calling))
            .start(&serving)
            .await
            .unwrap();
        let call = calling.call::<u64>(&outer, &()).timeout(Duration::from_secs(20));
        let left = call.await.unwrap();
        match by {
            By::Detached => assert!(left > 20_000, "{by:?}: {left} ms"),
            _ => assert!(left <= 20_000 && left > 10_000, "{by:?}: {left} ms"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_call_waited_in_the_broker_counts() {
    let broker = MemoryBroker::new();
    let session = Session::builder().transport(broker.transport());
    let session = session.connect().await.unwrap();
    let call = session.call::<u64>("test.remaining", &());
    let call = tokio::spawn(call.timeout(Duration::from_secs(2)).into_future());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let service = Service::new().procedure(remaining("test.remaining"));
    let _service = service.start(&session).await.unwrap();
    let left = call.await.unwrap().unwrap();
    assert!(left <= 1500 && left > 1000, "{left} ms");
}

#[tokio::test]
async fn a_procedures_own_limit_bounds_what_it_calls() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (inner, outer) = (unique("test.inner"), unique("test.outer"));
    let relay = relay(&outer, &inner, By::AnotherSession, &session).timeout(Duration::from_secs(15));
    let service = Service::new().procedure(remaining(&inner)).procedure(relay);
    let _service = service.start(&session).await.unwrap();
    let left: u64 = session.call(&outer, &()).await.unwrap();
    assert!(left <= 15_000, "{left} ms");
}

#[tokio::test]
async fn a_call_of_a_task_that_outlives_its_handler_ends_with_it() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (never, outer) = (unique("test.never"), unique("test.outer"));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let spawns = Procedure::new(&outer, move |context: Context, (): ()| {
        let call = context.session().call::<()>(&never, &()).into_future();
        let tell = tell.clone();
        tokio::spawn(async move { tell.send(call.await) });
        async { Ok::<_, Infallible>(()) }
    });
    let _service = Service::new().procedure(spawns).start(&session).await.unwrap();
    session.call::<()>(&outer, &()).await.unwrap();
    let error = told.recv().await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Cancelled { .. }), "{error:?}");
}

#[tokio::test]
async fn a_call_without_time_left_is_not_sent() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.echo");
    let service = Service::new()
        .procedure(echo(&uri))
        .start(&session)
        .await
        .unwrap();
    let begun = Instant::now();
    let error = session
        .call::<String>(&uri, "")
        .timeout(Duration::ZERO)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    // What was sent before would have been looked at before this one.
    session.call::<String>(&uri, "").await.unwrap();
    assert!(service.counts().all(|(_, counts)| counts.expired == 0));
}

#[tokio::test]
async fn what_has_expired_is_counted() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (uri, stuck) = (unique("test.echo"), unique("test.stuck"));
    let timeout = Duration::from_millis(50);
    for _ in 0..2 {
        // The second wait makes up for the time between the call's beginning and its publication.
        let call = session.call::<String>(&uri, "").timeout(timeout);
        call.await.unwrap_err();
    }
    let stuck_procedure = Procedure::new(&stuck, |_: Context, (): ()| {
        std::future::pending::<Result<(), Infallible>>()
    });
    let service = Service::new()
        .procedure(echo(&uri).concurrency(1))
        .procedure(stuck_procedure);
    let service = service.start(&session).await.unwrap();
    session.call::<String>(&uri, "").await.unwrap();
    session
        .call::<()>(&stuck, &())
        .timeout(timeout)
        .await
        .unwrap_err();
    let counts = |uri: &str| service.counts().find(|(of, _)| of.as_str() == uri).unwrap().1;
    assert!((1..=2).contains(&counts(&uri).expired), "{:?}", counts(&uri));
    while counts(&stuck).timed_out != 1 {
        tokio::task::yield_now().await;
    }
}
