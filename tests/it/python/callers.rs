//! Callers of the package itself, and services in Rust; skipped where no Python has it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{pending, ready},
    time::Duration,
};

use almanet::{Codec, Context, Procedure, Schemas, Service};
use almanet_tests::{TestBroker, unique};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    package::{Answer, GreetError, Order},
    program::{Program, python},
};

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
