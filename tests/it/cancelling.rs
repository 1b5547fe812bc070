//! A call that is given up ends its handler, and what that one has called.

use std::{convert::Infallible, time::Duration};

use almanet::{
    Codec, Context, Control, Id, Invocation, Payload, Procedure, Service, ServiceHandle, Session,
    testing::MemoryBroker, transport::TopicName,
};
use almanet_tests::{TestBroker, echo, unique};
use tokio::sync::{mpsc, watch};

use crate::spy::Spy;

/// What a held handler tells of itself.
#[derive(Debug, PartialEq)]
enum Told {
    Begun,
    Dropped,
}

/// Long before the deadline of a call, which would end its handler as well.
async fn soon<T>(event: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, event)
        .await
        .expect("it comes soon")
}

struct TellsWhenDropped(mpsc::UnboundedSender<Told>);

impl Drop for TellsWhenDropped {
    fn drop(&mut self) {
        let _ = self.0.send(Told::Dropped);
    }
}

/// A procedure that never ends by itself.
fn held(uri: &str) -> (Procedure, mpsc::UnboundedReceiver<Told>) {
    let (tell, told) = mpsc::unbounded_channel();
    let procedure = Procedure::new(uri, move |_: Context, (): ()| {
        let tells = TellsWhenDropped(tell.clone());
        async move {
            let _ = tells.0.send(Told::Begun);
            std::future::pending::<Result<(), Infallible>>().await
        }
    });
    (procedure, told)
}

async fn start(session: &Session, procedure: Procedure) -> ServiceHandle {
    Service::new().procedure(procedure).start(session).await.unwrap()
}

fn cancelled(service: &ServiceHandle) -> u64 {
    service.counts().map(|(_, counts)| counts.cancelled).sum()
}

#[tokio::test]
async fn a_dropped_call_ends_its_handler_in_both_codecs() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    for codec in [Codec::MessagePack, Codec::Json] {
        let calling = broker.session_with(|builder| builder.codec(codec)).await;
        let uri = unique("test.held");
        let (procedure, mut told) = held(&uri);
        let service = start(&serving, procedure).await;

        let call = tokio::spawn(calling.call::<()>(&uri, &()).into_future());
        assert_eq!(told.recv().await, Some(Told::Begun));
        // Before the caller can know where the call runs.
        call.abort();
        assert_eq!(soon(told.recv()).await, Some(Told::Dropped));
        // The message is finished: a service that stops has nothing to give back that would run again.
        service.stop().await;
        assert_eq!(told.try_recv().ok(), None, "{codec:?}");
        let _service = start(&serving, echo(&uri)).await;
        assert_eq!(calling.call::<String>(&uri, "next").await.unwrap(), "next");
    }
}

/// A session that tells how many control messages it has received.
async fn heeding(spy: Spy) -> (Session, watch::Receiver<usize>) {
    let received = watch::Sender::new(0);
    let seen = received.subscribe();
    let spy = spy.on_receive(move |_, delivery| {
        if Control::sniff(&delivery.body) {
            received.send_modify(|received| *received += 1);
        }
    });
    (spy.session().await, seen)
}

#[tokio::test]
async fn a_call_of_which_it_is_known_where_it_runs_is_cancelled_when_it_is_dropped() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let (calling, mut heard) = heeding(Spy::connect(&broker).await).await;
    let uri = unique("test.held");
    let (procedure, mut told) = held(&uri);
    let service = start(&serving, procedure).await;

    let call = tokio::spawn(calling.call::<()>(&uri, &()).into_future());
    assert_eq!(told.recv().await, Some(Told::Begun));
    heard.wait_for(|heard| *heard == 1).await.unwrap();
    // The message is with the session once it has been asked something else, and answered.
    let _echo = start(&serving, echo(&format!("{uri}.echo"))).await;
    calling.call::<String>(format!("{uri}.echo"), "").await.unwrap();
    call.abort();
    assert_eq!(soon(told.recv()).await, Some(Told::Dropped));
    assert_eq!(cancelled(&service), 1);
    assert_eq!(
        *heard.borrow(),
        1,
        "it took no second word of where the call runs"
    );
}

#[tokio::test]
async fn a_call_that_the_caller_times_out_earlier_than_it_said_is_cancelled() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.held");
    let (procedure, mut told) = held(&uri);
    let _service = start(&serving, procedure).await;

    let call = calling.call::<()>(&uri, &()).into_future();
    tokio::time::timeout(Duration::from_millis(10), call)
        .await
        .unwrap_err();
    assert_eq!(told.recv().await, Some(Told::Begun));
    assert_eq!(soon(told.recv()).await, Some(Told::Dropped));
}

#[tokio::test]
async fn leaving_cancels_what_the_session_waits_for() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let (calling, mut heard) = heeding(Spy::connect(&broker).await).await;
    let uri = unique("test.held");
    let (procedure, mut told) = held(&uri);
    let _service = start(&serving, procedure).await;

    let call = tokio::spawn(calling.call::<()>(&uri, &()).into_future());
    assert_eq!(told.recv().await, Some(Told::Begun));
    heard.wait_for(|heard| *heard == 1).await.unwrap();
    let _echo = start(&serving, echo(&format!("{uri}.echo"))).await;
    calling.call::<String>(format!("{uri}.echo"), "").await.unwrap();
    calling.leave().await.unwrap();
    assert_eq!(soon(told.recv()).await, Some(Told::Dropped));
    call.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn what_a_cancelled_handler_has_called_is_cancelled_too() {
    let broker = TestBroker::start().await;
    let (inner_session, outer_session) = (broker.session().await, broker.session().await);
    let calling = broker.session().await;
    let (inner, outer) = (unique("test.inner"), unique("test.outer"));
    let (procedure, mut told) = held(&inner);
    let _inner = start(&inner_session, procedure).await;
    let elsewhere = outer_session.clone();
    let relay = Procedure::new(&outer, move |_: Context, (): ()| {
        let call = elsewhere.call::<()>(&inner, &());
        async move {
            call.await.unwrap();
            Ok::<_, Infallible>(())
        }
    });
    let outer_service = start(&outer_session, relay).await;

    let call = tokio::spawn(calling.call::<()>(&outer, &()).into_future());
    assert_eq!(told.recv().await, Some(Told::Begun));
    call.abort();
    assert_eq!(soon(told.recv()).await, Some(Told::Dropped));
    assert_eq!(cancelled(&outer_service), 1);
}

/// The clock stands still but for what the handlers wait.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_quick_costs_no_message_more() {
    let broker = MemoryBroker::new();
    let serving = Session::builder().transport(broker.transport());
    let serving = serving.connect().await.unwrap();
    let (calling, heard) = heeding(Spy::over(broker.transport())).await;
    let waits = Procedure::new("test.waits", |_: Context, millis: u64| async move {
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Ok::<_, Infallible>(())
    });
    let _service = start(&serving, waits).await;
    for millis in [0, 1, 10, 90] {
        calling.call::<()>("test.waits", &millis).await.unwrap();
        assert_eq!(*heard.borrow(), 0, "{millis} ms");
    }
    calling.call::<()>("test.waits", &150).await.unwrap();
    assert_eq!(*heard.borrow(), 1);
}

#[tokio::test]
async fn a_caller_that_takes_no_control_messages_gets_none() {
    let broker = TestBroker::start().await;
    let (spoken, mut said) = mpsc::unbounded_channel();
    let spy = Spy::connect(&broker).await.on_publish(move |publication| {
        let _ = spoken.send((publication.topic.clone(), publication.bodies.clone()));
        Ok(())
    });
    let (serving, calling) = (spy.session().await, broker.session().await);
    let uri = unique("test.slow");
    let (heard, hears) = watch::channel(false);
    let slow = Procedure::new(&uri, move |context: Context, by_control: bool| {
        let mut hears = hears.clone();
        async move {
            // The second call runs until the service has said something about it.
            if by_control {
                hears.wait_for(|heard| *heard).await.unwrap();
            } else {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            Ok::<_, Infallible>(context.call_id().to_string())
        }
    });
    let _service = start(&serving, slow).await;

    let payload = Payload::encode(Codec::Json, &false).unwrap();
    let mut invocation = Invocation::new(Id::random(), payload);
    invocation.takes_control = false;
    let reply_topic = TopicName::new(format!("_rpc_._reply_.{}#ephemeral", Id::random())).unwrap();
    invocation.reply_topic = Some(reply_topic.clone());
    let body: serde_json::Value = serde_json::from_slice(&invocation.encode().unwrap()).unwrap();
    let json = broker.session_with(|builder| builder.codec(Codec::Json)).await;
    json.produce(format!("_rpc_.{uri}"), &body).await.unwrap();
    let (topic, bodies) = said.recv().await.unwrap();
    assert_eq!(topic, reply_topic);
    assert!(!Control::sniff(&bodies[0]), "{bodies:?}");

    let call = tokio::spawn(calling.call::<String>(&uri, &true).into_future());
    let (_, bodies) = said.recv().await.unwrap();
    assert!(Control::sniff(&bodies[0]), "{bodies:?}");
    heard.send_replace(true);
    call.await.unwrap().unwrap();
}
