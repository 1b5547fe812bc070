//! The package itself, in both directions; skipped where no Python has it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use almanet::{
    CallError, Codec, Context, Id, Invocation, Payload, Procedure, RpcError, Schemas, Service, schemars,
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
type Answer<T> = Result<T, Infallible>;

/// Python starts slowly where much else runs. The package takes no call that expires in a fraction of a second.
const PATIENCE: Duration = Duration::from_millis(60_500);

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum GreetError {
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
struct Order {
    item: String,
    count: u32,
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

/// Tells when it is dropped.
struct Dropped(mpsc::UnboundedSender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        // A test that has ended listens no more.
        let _ = self.0.send(());
    }
}

#[derive(Deserialize)]
struct Sum {
    left: i64,
    right: i64,
}

/// What tests/python/caller.py calls, and what it shows of that.
struct Served {
    service: Service,
    dropped: mpsc::UnboundedReceiver<()>,
    noted: mpsc::UnboundedReceiver<String>,
}

fn served(prepath: &str) -> Served {
    let uri = |name: &str| format!("{prepath}.{name}");
    let (drops, dropped) = mpsc::unbounded_channel();
    let (notes, noted) = mpsc::unbounded_channel();
    let greet = Procedure::new(uri("greet"), move |_: Context, name: String| {
        let drops = drops.clone();
        async move {
            match name.as_str() {
                "Bob" => Err(GreetError::Denied { name }),
                "closed" => Err(GreetError::Closed),
                "bomb" => panic!("the password is 1234"),
                "slow" => {
                    let _dropped = Dropped(drops);
                    pending().await
                }
                _ => Ok(format!("Hello, {name}!")),
            }
        }
    });
    let limited = Procedure::new(uri("limited"), |_: Context, (): ()| pending::<Answer<()>>());
    let order = Procedure::new(uri("order"), |_: Context, order: Order| async move {
        let (item, count) = (order.item, order.count * 2);
        Answer::Ok(Order { item, count })
    });
    let order = order
        .description("Orders twice as much.")
        .schemas(Schemas::of::<Order, Order, Infallible>);
    let add = Procedure::new(uri("add"), |_: Context, sum: Sum| async move {
        Answer::Ok(sum.left + sum.right)
    });
    let note = Procedure::new(uri("note"), move |_: Context, text: String| {
        notes.send(text).unwrap();
        ready(Answer::Ok(()))
    });
    let service = Service::new()
        .procedure(greet)
        .procedure(limited.timeout(Duration::from_millis(50)))
        .procedure(order)
        .procedure(add)
        .procedure(note)
        .schema_topics(true);
    Served {
        service,
        dropped,
        noted,
    }
}

/// A procedure that multiplies, on a channel of its own.
fn product(prepath: &str, channel: &str, factor: i64) -> Service {
    let product = Procedure::new(format!("{prepath}.product"), move |_: Context, number: i64| {
        ready(Answer::Ok(number * factor))
    });
    Service::new().procedure(product.channel(channel))
}

/// The same on a channel of each instance.
fn broadcast_product(prepath: &str, factor: i64) -> Service {
    let product = Procedure::new(format!("{prepath}.product"), move |_: Context, number: i64| {
        ready(Answer::Ok(number * factor))
    });
    Service::new().procedure(product.broadcast())
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
async fn a_rust_service_answers_python() {
    let Some(python) = python() else { return };
    let broker = TestBroker::start().await;
    let session = broker.session_with(|builder| builder.codec(Codec::Json)).await;
    let prepath = unique("t");
    let Served {
        service,
        mut dropped,
        mut noted,
    } = served(&prepath);
    let _services = [
        service.start(&session).await.unwrap(),
        product(&prepath, "one", 1).start(&session).await.unwrap(),
        product(&prepath, "two", 10).start(&session).await.unwrap(),
        broadcast_product(&prepath, 100).start(&session).await.unwrap(),
        broadcast_product(&prepath, 1000).start(&session).await.unwrap(),
    ];

    let mut caller = Program::start(&python, "caller", &[broker.address(), &prepath]);
    let mut outcomes = BTreeMap::new();
    while let Some(line) = caller.line().await {
        let (case, outcome): (String, Value) = serde_json::from_str(&line).unwrap();
        outcomes.insert(case, outcome);
    }
    caller.end().await;

    let invalid = "invalid type: integer `5`, expected a string at line 1 column 1";
    let expected = json!({
        "value": "Hello, Aidar!",
        "model": ["order_model", { "item": "tea", "count": 4 }],
        "arguments": 5,
        "error": ["denied", "denied", { "name": "Bob" }],
        "unknown error": ["rpc_exception", "closed", "null"],
        "invalid payload": ["rpc_invalid_payload", "rpc_invalid_payload", invalid],
        "panic": ["rpc_exception", "InternalError", "\"the procedure failed\""],
        "limit": ["rpc_exception", "rpc_timeout", "\"the procedure took longer than its own limit\""],
        "timeout": ["TimeoutError", null, null],
        "fraction": "Hello, quick!",
        "delayed": null,
        "multicall": ["7", "70", "700", "7000"],
    });
    let mut schema = outcomes.remove("schema").unwrap();
    let sessions = outcomes.remove("sessions").unwrap();
    assert_eq!(json!(outcomes), expected);
    for (key, required) in [("payload", true), ("return", true), ("session_id", false)] {
        let told = schema[key].take();
        assert_eq!(
            told["required"] == json!(["item", "count"]),
            required,
            "{key}: {told}"
        );
    }
    let order = format!("{prepath}.order");
    assert_eq!(
        schema,
        json!({
            "session_id": null, "session_version": 0.1, "uri": order, "channel": "almanet", "validate": true,
            "tags": ["default"], "name": "order", "description": "Orders twice as much.",
            "payload": null, "return": null,
        })
    );
    // Others may serve on the same broker.
    let own = |told: &&Value| told["session_id"] == json!(session.id());
    let told: Vec<_> = sessions.as_array().unwrap().iter().filter(own).collect();
    let served = ["greet", "limited", "order", "add", "note"];
    let routes = served.map(|name| format!("{prepath}.{name}:almanet"));
    let expected = json!({ "session_id": session.id(), "session_version": 0.1, "routes": routes });
    assert_eq!(told, [&expected]);
    dropped.recv().await.unwrap();
    assert_eq!(noted.recv().await.unwrap(), "delayed");
}

#[tokio::test]
async fn a_call_of_python_is_taken_over_by_another_rust_service() {
    let Some(python) = python() else { return };
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let prepath = unique("t");
    let uri = format!("{prepath}.held");
    let (holds, mut held) = mpsc::unbounded_channel();
    let first = Procedure::new(&uri, move |_: Context, (): ()| {
        holds.send(()).unwrap();
        pending::<Answer<()>>()
    });
    let first = Service::new().procedure(first).grace(Duration::ZERO);
    let first = first.start(&session).await.unwrap();

    let mut caller = Program::start(&python, "held", &[broker.address(), &uri]);
    held.recv().await.unwrap();
    first.stop().await;
    let second = Procedure::new(&uri, |_: Context, (): ()| ready(Answer::Ok("taken over")));
    let _second = Service::new().procedure(second).start(&session).await.unwrap();
    assert_eq!(caller.line().await.unwrap(), r#""taken over""#);
    caller.end().await;
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
