//! Stopping loses nothing: what runs is finished, what waits goes elsewhere, and what is cut off is run again.

use std::{convert::Infallible, sync::Arc, time::Duration};

use almanet::{CallError, Context, Procedure, Service, Session, StartError};
use almanet_tests::{TestBroker, unique};
use futures_util::future::join_all;
use tokio::sync::{Notify, mpsc};

/// A procedure that tells when it has begun and ends when it is let.
fn held(uri: &str, name: &'static str) -> (Procedure, mpsc::UnboundedReceiver<u16>, Arc<Notify>) {
    let (begun, has_begun) = mpsc::unbounded_channel();
    let let_go = Arc::new(Notify::new());
    let gate = Arc::clone(&let_go);
    let procedure = Procedure::new(uri, move |context: Context, (): ()| {
        let (begun, gate) = (begun.clone(), Arc::clone(&gate));
        async move {
            let _ = begun.send(context.attempt());
            gate.notified().await;
            Ok::<_, Infallible>(name.to_owned())
        }
    });
    (procedure, has_begun, let_go)
}

fn instant(uri: &str, name: &'static str) -> Procedure {
    Procedure::new(uri, move |_: Context, (): ()| async move {
        Ok::<_, Infallible>(name.to_owned())
    })
}

#[tokio::test]
async fn a_call_that_runs_when_the_service_stops_is_answered() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.held");
    let (procedure, mut has_begun, let_go) = held(&uri, "first");
    let service = Service::new().procedure(procedure).start(&serving).await.unwrap();

    let call = tokio::spawn(calling.call::<String>(&uri, &()).into_future());
    has_begun.recv().await.unwrap();
    let stopping = tokio::spawn(service.stop());
    let_go.notify_one();
    assert_eq!(call.await.unwrap().unwrap(), "first");
    stopping.await.unwrap();
}

#[tokio::test]
async fn calls_that_wait_when_the_service_stops_go_to_another_instance() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.held");
    let (procedure, mut has_begun, let_go) = held(&uri, "first");
    let service = Service::new()
        .procedure(procedure.concurrency(1))
        .start(&serving)
        .await
        .unwrap();

    let running = tokio::spawn(calling.call::<String>(&uri, &()).into_future());
    has_begun.recv().await.unwrap();
    let waiting: Vec<_> = (0..5)
        .map(|_| tokio::spawn(calling.call::<String>(&uri, &()).into_future()))
        .collect();
    let stopping = tokio::spawn(service.stop());

    let other = broker.session().await;
    let _other = Service::new()
        .procedure(instant(&uri, "second"))
        .start(&other)
        .await
        .unwrap();
    for answer in join_all(waiting).await {
        assert_eq!(answer.unwrap().unwrap(), "second");
    }
    let_go.notify_one();
    assert_eq!(running.await.unwrap().unwrap(), "first");
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_call_that_outlives_the_grace_is_run_again_elsewhere() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.held");
    let (procedure, mut has_begun, _never) = held(&uri, "first");
    let service = Service::new()
        .procedure(procedure)
        .grace(Duration::from_millis(20));
    let service = service.start(&serving).await.unwrap();

    let call = tokio::spawn(calling.call::<String>(&uri, &()).into_future());
    assert_eq!(has_begun.recv().await, Some(1));
    service.stop().await;

    let (procedure, mut has_begun, let_go) = held(&uri, "second");
    let _second = Service::new().procedure(procedure).start(&serving).await.unwrap();
    assert_eq!(has_begun.recv().await, Some(2));
    let_go.notify_one();
    assert_eq!(call.await.unwrap().unwrap(), "second");
}

#[tokio::test]
async fn a_dropped_handle_stops_the_service() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.held");
    let (procedure, mut has_begun, _never) = held(&uri, "first");
    drop(Service::new().procedure(procedure).start(&serving).await.unwrap());
    // The handler is dropped with the worker, once that has ended.
    assert_eq!(has_begun.recv().await, None);

    let error = calling
        .call::<String>(&uri, &())
        .timeout(Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn leaving_ends_calls_services_and_consumers_of_the_session() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.echo");
    let service = Service::new()
        .procedure(instant(&uri, "only"))
        .start(&session)
        .await
        .unwrap();
    let mut consumer = session
        .consume_topic::<u32>(unique("test.topic"), "worker")
        .await
        .unwrap();
    assert_eq!(session.call::<String>(&uri, &()).await.unwrap(), "only");

    let unanswered = tokio::spawn(session.call::<()>(unique("test.nobody"), &()).into_future());
    let leaving = session.clone();
    // The call is under way when the broker has confirmed it, and the session waits for that.
    tokio::task::yield_now().await;
    leaving.leave().await.unwrap();

    service.stopped().await;
    assert!(consumer.recv().await.is_none());
    let error = unanswered.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::SessionLeft), "{error:?}");
    let error = session.call::<()>(&uri, &()).await.unwrap_err();
    assert!(matches!(error, CallError::SessionLeft), "{error:?}");
    let again = Service::new()
        .procedure(instant(&uri, "again"))
        .start(&session)
        .await;
    assert!(matches!(again, Err(StartError::SessionLeft)), "{again:?}");
    session.produce("test.topic", &1).await.unwrap_err();
    session.leave().await.unwrap();
}

#[tokio::test]
async fn a_service_that_cannot_start_leaves_nothing_running() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.echo");

    let empty = Service::new().start(&session).await.unwrap_err();
    assert!(matches!(empty, StartError::Empty), "{empty:?}");

    let twice = Service::new()
        .procedure(instant(&uri, "a"))
        .procedure(instant(&uri, "b"));
    let error = twice.start(&session).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{uri} is in the service twice: give one of them another name")
    );

    let bad = Service::new()
        .procedure(instant(&uri, "a"))
        .procedure(instant("no spaces", "b"));
    let error = bad.start(&session).await.unwrap_err();
    assert!(matches!(error, StartError::InvalidUri(_)), "{error:?}");

    let bad = Service::new().procedure(instant(&uri, "a").channel("a b"));
    let error = bad.start(&session).await.unwrap_err();
    assert!(matches!(error, StartError::InvalidChannel { .. }), "{error:?}");

    let call = session
        .call::<String>(&uri, &())
        .timeout(Duration::from_millis(50));
    assert!(matches!(call.await, Err(CallError::Timeout { .. })));
}

#[tokio::test]
async fn the_last_clone_of_a_session_takes_its_connections_along() {
    let broker = TestBroker::start().await;
    let session: Session = broker.session().await;
    let uri = unique("test.echo");
    let other = broker.session().await;
    let _service = Service::new()
        .procedure(instant(&uri, "here"))
        .start(&other)
        .await
        .unwrap();
    assert_eq!(session.call::<String>(&uri, &()).await.unwrap(), "here");
    let call = session.call::<String>(&uri, &());
    drop(session);
    assert_eq!(call.await.unwrap(), "here", "a call is a clone of its session");
}
