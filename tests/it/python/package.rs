//! Services of the package itself, and events; skipped where no Python has it. Its callers are in [`super::callers`].

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use almanet::{
    CallError, Codec, Context, Id, Invocation, Payload, Procedure, RpcError, Service, schemars,
    transport::TopicName,
};
use almanet_tests::{TestBroker, unique};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::{
    peer::Peer,
    program::{Program, python},
};

/// What procedures return that raise nothing.
pub(super) type Answer<T> = Result<T, Infallible>;

/// Python starts slowly where much else runs. The package takes no call that expires in a fraction of a second.
const PATIENCE: Duration = Duration::from_millis(60_500);

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
pub(super) enum GreetError {
    #[error("{name} is not welcome")]
    Denied { name: String },
    #[error("{0:?}")]
    Plain(Option<String>),
    #[error("the shop is closed")]
    Closed,
}

/// What is ordered.
#[derive(Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(crate = "almanet::schemars")]
pub(super) struct Order {
    pub(super) item: String,
    pub(super) count: u32,
}

#[tokio::test]
async fn a_python_service_answers_rust() {
    let Some(python) = python() else { return };
    let broker = TestBroker::start().await;
    let prepath = unique("t");
    let _service = Program::start(&python, "service", &[broker.address(), &prepath]);
    let session = broker.session_with(|builder| builder.codec(Codec::Json)).await;
    let greet = format!("{prepath}.greet");
    let ask = |name: &str| {
        session
            .call::<Option<String>>(&greet, name)
            .timeout(PATIENCE)
            .expecting::<GreetError>()
    };

    assert_eq!(ask("Änne").await.unwrap().unwrap(), "Hello, Änne!");
    assert_eq!(ask("raw").await.unwrap().unwrap(), "raw \"bytes\"");
    assert_eq!(ask("nothing").await.unwrap(), None);
    for (name, error) in [
        ("Bob", GreetError::Denied { name: "Bob".into() }),
        ("plain", GreetError::Plain(Some("sorry".into()))),
        ("none", GreetError::Plain(None)),
    ] {
        match ask(name).await {
            Err(CallError::Remote(raised)) => assert_eq!(raised, error),
            other => panic!("{name}: {other:?}"),
        }
    }
    let error = ask("bomb").await.unwrap_err();
    assert!(matches!(error, CallError::Internal { .. }), "{error:?}");
    let error = session.call::<String>(&greet, &5).await.unwrap_err();
    let CallError::InvalidPayload { reason, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(reason.contains("should be a valid string"), "{reason}");

    // One call runs at a time in a Python service, so the next one shows that this one has been given up there too.
    let error = ask("slow").timeout(Duration::from_millis(900)).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    let next = ask("Sara").timeout(Duration::from_secs(20)).await;
    assert_eq!(next.unwrap().unwrap(), "Hello, Sara!");

    let order = Order {
        item: "tea".into(),
        count: 2,
    };
    let ordered: Order = session.call(format!("{prepath}.order"), &order).await.unwrap();
    assert_eq!(ordered.count, 4);

    let uri = format!("_schema_.{prepath}.order.almanet.python");
    let schema: Value = session.call(uri, &()).await.unwrap();
    assert_eq!(schema["description"], json!("Orders twice as much."));
    assert_eq!(schema["tags"], json!(["test"]));
    assert_eq!(schema["payload"]["required"], json!(["item", "count"]));
}

#[tokio::test]
async fn a_python_service_runs_delayed_calls_and_answers_anywhere() {
    let Some(python) = python() else { return };
    let broker = TestBroker::start().await;
    let prepath = unique("t");
    let mut service = Program::start(&python, "service", &[broker.address(), &prepath]);
    let peer = Peer::connect(&broker).await;
    let topic = format!("_rpc_.{prepath}.note");

    let body = |text: &str, reply_topic: Option<&str>| {
        let mut invocation = Invocation::new(Id::random(), Payload::encode(Codec::Json, text).unwrap());
        invocation.reply_topic = reply_topic.map(|name| TopicName::new(name).unwrap());
        String::from_utf8(invocation.encode().unwrap().to_vec()).unwrap()
    };
    let delay = Some(Duration::from_millis(50));
    peer.publish_after(&topic, &body("delayed", None), delay).await;
    assert_eq!(service.line().await.unwrap(), "delayed");

    let replies = format!("_rpc_._replies_.{}#ephemeral", unique("r"));
    let mut answers = peer.listen(&replies, "almanet#ephemeral").await;
    peer.publish(&topic, &body("answered", Some(&replies))).await;
    assert_eq!(service.line().await.unwrap(), "answered");
    let answer: Value = serde_json::from_str(&answers.next().await).unwrap();
    assert_eq!(answer["payload"], json!("null"));
}

#[tokio::test]
async fn a_call_whose_python_service_dies_is_run_by_another() {
    let Some(python) = python() else { return };
    let broker = TestBroker::start().await;
    let prepath = unique("t");
    let mut first = Program::start(&python, "service", &[broker.address(), &prepath, "holds"]);
    let session = broker.session_with(|builder| builder.codec(Codec::Json)).await;
    let note = session.call::<()>(format!("{prepath}.note"), "mine");
    let note = tokio::spawn(note.into_future());

    assert_eq!(first.line().await.unwrap(), "mine");
    first.kill().await;
    let mut second = Program::start(&python, "service", &[broker.address(), &prepath]);
    assert_eq!(second.line().await.unwrap(), "mine");
    note.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_procedure_that_moves_is_served_by_both_languages_at_once() {
    let Some(python) = python() else { return };
    let broker = TestBroker::start().await;
    let prepath = unique("t");
    let uri = format!("{prepath}.language");
    let session = broker.session_with(|builder| builder.codec(Codec::Json)).await;
    let _python = Program::start(&python, "service", &[broker.address(), &prepath]);
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let language = Procedure::new(&uri, move |_: Context, (): ()| {
        count.fetch_add(1, Ordering::SeqCst);
        ready(Answer::Ok("rust"))
    });
    let language = language.channel("almanet.python");
    let _rust = Service::new().procedure(language).start(&session).await.unwrap();

    let mut answers = BTreeMap::<String, usize>::new();
    let asking = async {
        while answers.len() < 2 {
            let answer = session.call::<String>(&uri, &()).await.unwrap();
            *answers.entry(answer).or_default() += 1;
        }
    };
    timeout(PATIENCE, asking).await.expect("both languages answer");
    assert_eq!(
        runs.load(Ordering::SeqCst),
        answers["rust"],
        "what Python answers does not run in Rust as well"
    );
}

#[tokio::test]
async fn a_multicall_of_rust_is_answered_by_both_languages() {
    let Some(python) = python() else { return };
    let broker = TestBroker::start().await;
    let prepath = unique("t");
    let uri = format!("{prepath}.language");
    let session = broker.session_with(|builder| builder.codec(Codec::Json)).await;
    let _python = Program::start(&python, "service", &[broker.address(), &prepath]);
    // It runs once it answers.
    assert_eq!(session.call::<String>(&uri, &()).await.unwrap(), "python");
    let mut services = Vec::new();
    for _ in 0..2 {
        let language = Procedure::new(&uri, |_: Context, (): ()| ready(Answer::Ok("rust")));
        let service = Service::new().procedure(language.broadcast());
        services.push(service.start(&session).await.unwrap());
    }
    let call = session.multicall::<String>(&uri, &()).count(3).timeout(PATIENCE);
    let mut answers: Vec<_> = call
        .collect()
        .await
        .unwrap()
        .into_iter()
        .map(|answer| (answer.outcome.unwrap(), answer.responder.is_some()))
        .collect();
    answers.sort();
    let expected = [("python", false), ("rust", true), ("rust", true)];
    assert_eq!(
        answers,
        expected.map(|(language, says)| (language.to_owned(), says))
    );
}

#[tokio::test]
async fn a_python_service_runs_one_way_calls_and_answers_to_a_procedure_in_rust() {
    let Some(python) = python() else { return };
    let broker = TestBroker::start().await;
    let prepath = unique("t");
    let mut service = Program::start(&python, "service", &[broker.address(), &prepath]);
    let session = broker.session_with(|builder| builder.codec(Codec::Json)).await;
    let note = format!("{prepath}.note");
    let call = session.send(&note, "delayed").after(Duration::from_millis(50));
    call.await.unwrap();
    assert_eq!(service.line().await.unwrap(), "delayed");

    let greeted = format!("{prepath}.greeted");
    let (tell, mut told) = mpsc::unbounded_channel();
    let receiver = Procedure::new(&greeted, move |context: Context, greeting: String| {
        tell.send((context.call_id(), greeting)).unwrap();
        ready(Answer::Ok(()))
    });
    let _receiver = Service::new().procedure(receiver).start(&session).await.unwrap();
    let greet = format!("{prepath}.greet");
    // What Python raises is not taken for a greeting.
    session.send(&greet, "Bob").reply_to(&greeted).await.unwrap();
    let id = session.send(&greet, "Sara").reply_to(&greeted).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), (id, "Hello, Sara!".to_owned()));
}

#[tokio::test]
async fn events_pass_between_the_languages() {
    let Some(python) = python() else { return };
    let broker = TestBroker::start().await;
    let session = broker.session_with(|builder| builder.codec(Codec::Json)).await;
    let prepath = unique("t");
    let topic = format!("{prepath}.from_python");
    let mut events = session.consume_topic::<Value>(topic, "rust").await.unwrap();
    let event = json!({ "name": "Änne" });
    let topic = format!("{prepath}.from_rust");
    session.produce(topic, &event).await.unwrap();

    // It sends back what it consumes.
    let program = Program::start(&python, "events", &[broker.address(), &prepath]);
    let received = events.recv().await.unwrap().unwrap();
    assert_eq!(*received, event);
    received.ack().unwrap();
    program.end().await;
}
