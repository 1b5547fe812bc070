//! Calls whose answer goes to another procedure.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use almanet::{
    Codec, Context, FailedCall, Id, Payload, Procedure, Reply, RpcError, Service, ServiceHandle, Session,
};
use almanet_tests::{TestBroker, unique};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::{
    raw,
    spy::{Spy, unconfirmed},
};

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum PriceError {
    #[error("there is no {name}")]
    Unknown { name: String },
}

/// A procedure that answers with the length of a text, and has its failures.
fn price(uri: &str) -> Procedure {
    Procedure::new(uri, |_: Context, name: String| async move {
        match name.as_str() {
            "unicorn" => Err(PriceError::Unknown { name }),
            "bomb" => panic!("the password is 1234"),
            "stuck" => std::future::pending().await,
            _ => Ok(name.len() as u64),
        }
    })
}

/// What a receiver sees of a call that it gets.
#[derive(Debug)]
struct Received<T> {
    value: T,
    context: Context,
}

/// A procedure that tells what it is called with.
fn receiving<T: DeserializeOwned + Send + 'static>(
    uri: &str,
) -> (Procedure, mpsc::UnboundedReceiver<Received<T>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let procedure = Procedure::new(uri, move |context: Context, value: T| {
        let _ = sender.send(Received { value, context });
        async { Ok::<_, Infallible>(()) }
    });
    (procedure, receiver)
}

/// Three procedures: what is called, who gets its value, and who its error.
struct Scene {
    price: String,
    store: String,
    alarm: String,
    stored: mpsc::UnboundedReceiver<Received<u64>>,
    alarms: mpsc::UnboundedReceiver<Received<FailedCall>>,
    service: ServiceHandle,
    _receivers: ServiceHandle,
}

impl Scene {
    /// `serving` runs what is called, and `receiving_session` the two others.
    async fn set(serving: &Session, receiving_session: &Session) -> Self {
        let uris = ["test.price", "test.store", "test.alarm"].map(unique);
        let [price_uri, store, alarm] = uris;
        let (storing, stored) = receiving(&store);
        let (alarming, alarms) = receiving(&alarm);
        let receivers = Service::new().procedure(storing).procedure(alarming);
        let _receivers = receivers.start(receiving_session).await.unwrap();
        let limited = price(&price_uri).timeout(Duration::from_secs(1));
        let service = Service::new().procedure(limited);
        let service = service.start(serving).await.unwrap();
        Self {
            price: price_uri,
            store,
            alarm,
            stored,
            alarms,
            service,
            _receivers,
        }
    }
}

#[tokio::test]
async fn the_value_goes_to_the_receiver_in_the_codec_of_the_call() {
    let broker = TestBroker::start().await;
    let (serving, receiving) = (broker.session().await, broker.session().await);
    let mut scene = Scene::set(&serving, &receiving).await;
    for codec in [Codec::MessagePack, Codec::Json] {
        let calling = broker.session_with(|builder| builder.codec(codec)).await;
        let call = calling.send(&scene.price, "tea").reply_to(&scene.store);
        let id = call.header("tenant", "acme").await.unwrap();
        let Received { value, context } = scene.stored.recv().await.unwrap();
        assert_eq!(value, 3, "{codec:?}");
        assert_eq!((context.call_id(), context.caller_id()), (id, calling.id()));
        assert_eq!(context.headers().get("tenant"), Some("acme"));
        assert_eq!(context.remaining(), None);
        assert_eq!(context.procedure().as_str(), scene.store);
    }
}

#[tokio::test]
async fn an_error_goes_to_whom_the_caller_says_and_to_nobody_else() {
    let broker = TestBroker::start().await;
    let (serving, receiving) = (broker.session().await, broker.session().await);
    let mut scene = Scene::set(&serving, &receiving).await;
    for codec in [Codec::MessagePack, Codec::Json] {
        let calling = broker.session_with(|builder| builder.codec(codec)).await;
        for (name, error) in [
            ("unicorn", "unknown"),
            ("bomb", "InternalError"),
            ("stuck", "rpc_timeout"),
        ] {
            let call = calling.send(&scene.price, name).reply_to(&scene.store);
            let id = call.errors_to(&scene.alarm).await.unwrap();
            let Received { value, context } = scene.alarms.recv().await.unwrap();
            assert_eq!((value.call_id, context.call_id()), (id, id));
            assert_eq!(
                (value.procedure.as_str(), value.name.as_str()),
                (scene.price.as_str(), error)
            );
            assert_eq!(context.headers().get("almanet-errors-to"), None);
            if name == "unicorn" {
                let unknown = PriceError::Unknown { name: name.into() };
                assert_eq!(value.error::<PriceError>().unwrap(), unknown);
                assert!(
                    !format!("{value:?}").contains("unicorn"),
                    "what is the user's own is not shown"
                );
            } else {
                value.error::<PriceError>().unwrap_err();
            }
        }
        let call = calling.send(&scene.price, &5).errors_to(&scene.alarm);
        call.await.unwrap();
        let Received { value, .. } = scene.alarms.recv().await.unwrap();
        assert_eq!(value.name, "rpc_invalid_payload");
        assert!(
            value.payload.as_str().unwrap().contains("expected a string"),
            "{:?}",
            value.payload
        );
    }
    let unheard: u64 = scene.service.counts().map(|(_, counts)| counts.unheard).sum();
    assert_eq!(unheard, 0);
    assert!(scene.stored.try_recv().is_err(), "no value came");
}

#[tokio::test]
async fn an_error_without_a_receiver_is_not_taken_for_a_value() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let scene = Scene::set(&session, &session).await;
    // One that would take anything.
    let store = unique("test.store");
    let (storing, mut stored) = receiving::<serde_json::Value>(&store);
    let _anything = Service::new().procedure(storing).start(&session).await.unwrap();
    let call = session.send(&scene.price, "unicorn").reply_to(&store);
    call.await.unwrap();
    let unheard = || {
        scene
            .service
            .counts()
            .map(|(_, counts)| counts.unheard)
            .sum::<u64>()
    };
    while unheard() == 0 {
        session.call::<u64>(&scene.price, "tea").await.unwrap();
    }
    for (name, length) in [("coffee", 6), ("tea", 3)] {
        session.send(&scene.price, name).reply_to(&store).await.unwrap();
        assert_eq!(stored.recv().await.unwrap().value, length);
    }
    assert!(stored.try_recv().is_err());
}

#[tokio::test]
async fn what_is_left_of_the_time_is_passed_on() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let mut scene = Scene::set(&session, &session).await;
    let call = session.send(&scene.price, "tea").reply_to(&scene.store);
    call.expires(Duration::from_secs(60)).await.unwrap();
    let remaining = scene.stored.recv().await.unwrap().context.remaining().unwrap();
    assert!(
        remaining > Duration::from_secs(30) && remaining < Duration::from_secs(60),
        "{remaining:?}"
    );
}

#[tokio::test]
async fn an_answer_that_is_not_passed_on_has_the_call_run_again_under_its_id() {
    let broker = TestBroker::start().await;
    let (receiving, calling) = (broker.session().await, broker.session().await);
    let failed = AtomicBool::new(false);
    let spy = Spy::connect(&broker).await.on_publish(move |publication| {
        let is_answer = publication.topic.as_str().contains("test.store");
        match is_answer && !failed.swap(true, Ordering::SeqCst) {
            true => Err(unconfirmed(publication)),
            false => Ok(()),
        }
    });
    let serving = spy.session().await;
    let mut scene = Scene::set(&serving, &receiving).await;
    let id = calling
        .send(&scene.price, "tea")
        .reply_to(&scene.store)
        .await
        .unwrap();
    let received = scene.stored.recv().await.unwrap();
    assert_eq!((received.value, received.context.call_id()), (3, id));
    let answered: u64 = serving
        .introspect()
        .procedure(&scene.price)
        .stats()
        .await
        .unwrap()
        .iter()
        .flat_map(|stats| &stats.procedures)
        .map(|stats| stats.answered)
        .sum();
    assert_eq!(answered, 2, "it has run again");
}

#[tokio::test]
async fn a_value_that_cannot_be_sent_is_an_error() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (uri, store, alarm) = (unique("test.large"), unique("test.store"), unique("test.alarm"));
    let large = Procedure::new(&uri, |_: Context, length: usize| async move {
        Ok::<_, Infallible>("x".repeat(length))
    });
    let (storing, mut stored) = receiving::<String>(&store);
    let (alarming, mut alarms) = receiving::<FailedCall>(&alarm);
    let service = Service::new()
        .procedure(large)
        .procedure(storing)
        .procedure(alarming);
    let _service = service.start(&session).await.unwrap();
    for length in [2 << 20, 100_000] {
        let call = session.send(&uri, &length).reply_to(&store);
        call.errors_to(&alarm).await.unwrap();
    }
    let failed = alarms.recv().await.unwrap().value;
    assert_eq!(failed.name, "rpc_invalid_return");
    let reason = failed.payload.as_str().unwrap();
    assert!(reason.contains("more than the limit of 1048576"), "{reason}");
    // Too large to be published behind the back of its confirmation.
    assert_eq!(stored.recv().await.unwrap().value.len(), 100_000);
}

#[tokio::test]
async fn it_can_be_delayed() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let mut scene = Scene::set(&session, &session).await;
    let begun = std::time::Instant::now();
    let delay = Duration::from_millis(200);
    session
        .send(&scene.price, "tea")
        .reply_to(&scene.store)
        .after(delay)
        .await
        .unwrap();
    assert_eq!(scene.stored.recv().await.unwrap().value, 3);
    assert!(begun.elapsed() >= delay);
}

#[tokio::test]
async fn a_service_that_knows_only_replies_reaches_the_receiver_too() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let store = unique("test.store");
    let (storing, mut stored) = receiving::<u64>(&store);
    let _service = Service::new().procedure(storing).start(&session).await.unwrap();
    let topic = format!("_rpc_.{store}");
    let id = Id::random();
    // As a Python service answers where it is told to.
    let error = r#""{\"name\":\"denied\",\"payload\":\"7\"}""#;
    let error = format!(r#"{{"call_id":"{id}","is_exception":true,"payload":{error}}}"#);
    raw::publish(&broker, &topic, error).await;
    let value = format!(r#"{{"call_id":"{id}","is_exception":false,"payload":"7"}}"#);
    raw::publish(&broker, &topic, value).await;
    let Received { value, context } = stored.recv().await.unwrap();
    assert_eq!((value, context.call_id()), (7, id));

    let reply = Reply::new(id, Ok(Payload::encode(Codec::MessagePack, &8).unwrap()));
    raw::publish(&broker, &topic, reply.encode().unwrap()).await;
    assert_eq!(stored.recv().await.unwrap().value, 8);
}
