//! A node that is lost while calls wait, and a service that dies while it runs one.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use almanet::{Broker, BrokerConfig, CallError, Context, Procedure, Service, ServiceHandle, Session};
use almanet_tests::{TestBroker, unique};
use tokio::sync::mpsc;

async fn broker() -> Broker {
    // These tests stop their brokers, so they always have their own.
    Broker::start(BrokerConfig::default())
        .await
        .expect("an embedded broker")
}

/// Serves `uri` at one broker: tells when a call has begun, and never answers it.
async fn holding(broker: &Broker, uri: &str) -> (ServiceHandle, mpsc::UnboundedReceiver<u16>) {
    let (begun, has_begun) = mpsc::unbounded_channel();
    let held = Procedure::new(uri, move |context: Context, (): ()| {
        let _ = begun.send(context.attempt());
        std::future::pending::<Result<(), Infallible>>()
    });
    let session = Session::connect(broker.tcp_addr().to_string()).await.unwrap();
    let service = Service::new().procedure(held).grace(Duration::ZERO);
    (service.start(&session).await.unwrap(), has_begun)
}

/// Serves `uri` at one broker: answers at once.
async fn answering(broker: &Broker, uri: &str) -> ServiceHandle {
    let instant = Procedure::new(uri, |_: Context, (): ()| async { Ok::<_, Infallible>(()) });
    let session = Session::connect(broker.tcp_addr().to_string()).await.unwrap();
    Service::new().procedure(instant).start(&session).await.unwrap()
}

/// A call through the first of two brokers, where it is held; the other one answers.
async fn held_call(
    first: &Broker,
    second: &Broker,
    idempotent: bool,
) -> (tokio::task::JoinHandle<Result<(), CallError>>, [ServiceHandle; 2]) {
    let uri = unique("test.held");
    let (holding, mut has_begun) = holding(first, &uri).await;
    let services = [holding, answering(second, &uri).await];
    let addresses = format!("{},{}", first.tcp_addr(), second.tcp_addr());
    let calling = Session::connect(addresses).await.unwrap();
    loop {
        let mut call = calling.call::<()>(&uri, &());
        if idempotent {
            call = call.idempotent();
        }
        let mut call = tokio::spawn(call.into_future());
        tokio::select! {
            // It went to the other broker: the next one does not.
            answered = &mut call => answered.unwrap().unwrap(),
            _ = has_begun.recv() => return (call, services),
        }
    }
}

#[tokio::test]
async fn a_call_whose_node_is_lost_ends_at_once() {
    let (first, second) = (broker().await, broker().await);
    let (call, _services) = held_call(&first, &second, false).await;
    let (address, begun) = (first.tcp_addr().to_string(), Instant::now());
    first.stop().await.unwrap();
    let error = call.await.unwrap().unwrap_err();
    let CallError::Disconnected { node, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(**node, address);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_idempotent_call_whose_node_is_lost_is_answered_through_another() {
    let (first, second) = (broker().await, broker().await);
    let (call, _services) = held_call(&first, &second, true).await;
    first.stop().await.unwrap();
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_goes_on_waiting_when_another_node_is_lost() {
    let (first, second) = (broker().await, broker().await);
    let uri = unique("test.held");
    let (holding, mut has_begun) = holding(&first, &uri).await;
    let addresses = format!("{},{}", first.tcp_addr(), second.tcp_addr());
    let calling = Session::connect(addresses).await.unwrap();
    // Nobody serves at the second broker, so one of two calls waits there.
    let calls = [(); 2].map(|()| tokio::spawn(calling.call::<()>(&uri, &()).into_future()));
    has_begun.recv().await.unwrap();
    second.stop().await.unwrap();
    let [one, other] = calls;
    let (lost, left) = match futures_util::future::select(one, other).await {
        futures_util::future::Either::Left(found) => found,
        futures_util::future::Either::Right(found) => found,
    };
    let error = lost.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Disconnected { .. }), "{error:?}");

    // Cut off, the other one is run again by whoever comes, and its caller still waits for that.
    holding.stop().await;
    let _answering = answering(&first, &uri).await;
    left.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_whose_service_dies_is_run_by_another_instance() {
    let broker = TestBroker::start().await;
    let (calling, uri) = (broker.session().await, unique("test.dies"));
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let attempt = |held: bool| {
        let begun = begun.clone();
        Procedure::new(&uri, move |context: Context, (): ()| {
            let _ = begun.send(context.attempt());
            async move {
                if held {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(context.attempt())
            }
        })
    };
    // A runtime that is dropped takes its sockets along, as a process does that is killed.
    let dying = tokio::runtime::Runtime::new().unwrap();
    let (address, procedure) = (broker.address().to_owned(), attempt(true));
    let serving = dying.spawn(async move {
        let session = Session::connect(address).await.unwrap();
        let service = Service::new().procedure(procedure).start(&session).await;
        (session, service.unwrap())
    });
    let service = serving.await.unwrap();

    let call = tokio::spawn(calling.call::<u16>(&uri, &()).into_future());
    assert_eq!(has_begun.recv().await, Some(1));
    dying.shutdown_background();
    let session = broker.session().await;
    let _second = Service::new()
        .procedure(attempt(false))
        .start(&session)
        .await
        .unwrap();
    assert_eq!(call.await.unwrap().unwrap(), 2);
    drop(service);
}

#[tokio::test]
async fn a_call_that_its_broker_refuses_ends_at_once() {
    // The client allows more than the broker does.
    let broker = Broker::start(BrokerConfig::default().max_message_size(1024))
        .await
        .unwrap();
    let uri = unique("test.refused");
    let _service = answering(&broker, &uri).await;
    let calling = Session::connect(broker.tcp_addr().to_string()).await.unwrap();
    // The first one finds the session without its inbox.
    calling.call::<()>(&uri, &()).await.unwrap();
    let begun = Instant::now();
    let error = calling.call::<()>(&uri, &"x".repeat(2048)).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Publish { source, .. } if source.is_refused()),
        "{error:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    // And the next one finds the session as it was.
    calling.call::<()>(&uri, &()).await.unwrap();
}
