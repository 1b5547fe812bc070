//! What procedures say of what they take and return.

use std::convert::Infallible;

use almanet::{Context, Procedure, RpcError, Service, schemars, service};
use almanet_tests::{TestBroker, echo};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::raw::answer_to;

/// Whom to greet.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(crate = "almanet::schemars")]
pub struct Guest {
    name: String,
    #[serde(default)]
    title: Option<String>,
}

/// A type that has no schema.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plain {
    number: u8,
}

/// Why somebody is not greeted.
#[derive(Debug, thiserror::Error, RpcError)]
pub enum GreetError {
    /// The name is on the list.
    #[error("{name} is not welcome until {until:?}")]
    Denied { name: String, until: Option<Plain> },
    #[error("the house is full")]
    Full,
}

/// Greets guests.
#[service(prepath = "almanet.test.described")]
mod described {
    use super::{GreetError, Guest, Plain};

    /// Greets a guest.
    #[procedure(tags("people"))]
    pub async fn greet(guest: Guest) -> Result<String, GreetError> {
        Ok(format!(
            "Hello, {}{}!",
            guest.title.unwrap_or_default(),
            guest.name
        ))
    }

    #[procedure]
    pub async fn seat(
        guest: Guest,
        #[serde(rename = "table", alias = "desk")] number: u32,
        #[serde(default)] beside: Vec<Guest>,
        plain: Plain,
    ) -> Plain {
        let _ = (guest, number, beside);
        plain
    }

    #[procedure]
    pub async fn close() {}
}

#[tokio::test]
async fn schemas_tell_what_a_procedure_takes_and_returns() {
    let broker = TestBroker::embedded().await;
    let session = broker.session().await;
    let service = described::service().start(&session).await.unwrap();

    let info = session.discover().await.unwrap().remove(0);
    assert_eq!(info.instance.service, "almanet.test.described");
    assert_eq!(info.instance.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(info.description, "Greets guests.");

    let schemas = session.introspect().schemas().await.unwrap();
    let [close, greet, seat] = schemas.as_slice() else {
        panic!("{schemas:?}")
    };
    assert_eq!(greet.uri, "almanet.test.described.greet");
    assert_eq!(greet.description, "Greets a guest.");
    let payload = greet.schemas.payload.as_ref().unwrap();
    assert_eq!(payload["description"], "Whom to greet.");
    assert_eq!(payload["required"], json!(["name"]));
    assert_eq!(greet.schemas.result.as_ref().unwrap()["type"], "string");
    let [denied, full] = greet.schemas.errors.as_slice() else {
        panic!("{greet:?}")
    };
    assert_eq!(
        (denied.name.as_str(), denied.description.as_str()),
        ("denied", "The name is on the list.")
    );
    let denied = denied.payload.as_ref().unwrap();
    assert_eq!(denied["properties"]["name"]["type"], "string");
    assert_eq!(
        denied["properties"]["until"],
        json!(true),
        "anything, as far as is known"
    );
    assert_eq!(
        (full.name.as_str(), &full.payload.as_ref().unwrap()["type"]),
        ("full", &json!("null"))
    );

    let payload = seat.schemas.payload.as_ref().unwrap();
    assert_eq!(payload["required"], json!(["guest", "table", "plain"]));
    assert_eq!(payload["properties"]["table"]["type"], "integer");
    assert_eq!(payload["properties"]["plain"], json!(true));
    assert_eq!(payload["properties"]["guest"], json!({ "$ref": "#/$defs/Guest" }));
    assert_eq!(payload["$defs"]["Guest"]["description"], "Whom to greet.");
    assert_eq!(seat.schemas.result, None);
    assert_eq!(close.schemas.payload.as_ref().unwrap()["type"], "null");

    // What the schema says is what is read.
    let by_hand = json!({ "guest": { "name": "Sara" }, "desk": 7, "plain": { "number": 3 } });
    let plain: Plain = session
        .call("almanet.test.described.seat", &by_hand)
        .await
        .unwrap();
    assert_eq!(plain.number, 3);
    let sara = || Guest {
        name: "Sara".to_owned(),
        title: None,
    };
    let plain = described::seat::call(&session, sara(), 7, vec![], plain)
        .await
        .unwrap();
    assert_eq!(plain.number, 3);

    let of_one = session
        .introspect()
        .procedure("almanet.test.described.greet")
        .schemas()
        .await
        .unwrap();
    assert_eq!(of_one.len(), 1);
    service.stop().await;
}

#[tokio::test]
async fn schemas_are_shared_as_the_python_package_shares_them() {
    let broker = TestBroker::embedded().await;
    let session = broker.session().await;
    let hidden = echo("almanet.test.described.hidden").hidden();
    let service = described::service()
        .procedure(hidden)
        .schema_topics(true)
        .start(&session)
        .await
        .unwrap();

    let topic = "_rpc_._schema_.almanet.test.described.greet.almanet";
    let reply = answer_to(&broker, topic, "null").await;
    let mut schema: Value = serde_json::from_str(reply["payload"].as_str().unwrap()).unwrap();
    assert_eq!(schema["payload"].take()["required"], json!(["name"]));
    assert_eq!(schema["return"].take()["type"], "string");
    assert_eq!(
        schema,
        json!({
            "session_id": session.id(),
            "session_version": 0.1,
            "uri": "almanet.test.described.greet",
            "channel": "almanet",
            "validate": true,
            "tags": ["people"],
            "name": "greet",
            "description": "Greets a guest.",
            "payload": null,
            "return": null,
        })
    );
    let reply = answer_to(
        &broker,
        "_rpc_._schema_.almanet.test.described.close.almanet",
        "null",
    )
    .await;
    let schema: Value = serde_json::from_str(reply["payload"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&schema["tags"], &schema["description"]),
        (&json!(["default"]), &json!(null))
    );

    let reply = answer_to(&broker, "_rpc_._schema_.client", "null").await;
    let client: Value = serde_json::from_str(reply["payload"].as_str().unwrap()).unwrap();
    assert_eq!(
        client,
        json!({
            "session_id": session.id(),
            "session_version": 0.1,
            "routes": [
                "almanet.test.described.greet:almanet",
                "almanet.test.described.seat:almanet",
                "almanet.test.described.close:almanet",
            ],
        })
    );
    let listed = session.introspect().info().await.unwrap().remove(0);
    assert_eq!(listed.procedures.len(), 3, "those that tell are not told of");
    service.stop().await;
}

#[tokio::test]
async fn a_procedure_whose_name_leaves_no_room_for_a_schema_topic_is_served_without_one() {
    let broker = TestBroker::embedded().await;
    let session = broker.session().await;
    let long = "a".repeat(58);
    let service = Service::new()
        .procedure(echo(&long))
        .procedure(echo("almanet.test.hyphenated").channel("not-a-segment"))
        .schema_topics(true)
        .start(&session)
        .await
        .unwrap();
    for uri in [long.as_str(), "almanet.test.hyphenated"] {
        assert_eq!(session.call::<String>(uri, "here").await.unwrap(), "here");
    }
    let reply = answer_to(&broker, "_rpc_._schema_.client", "null").await;
    assert!(reply["payload"].as_str().unwrap().contains(&long), "{reply}");
    service.stop().await;
}

#[test]
fn a_procedure_without_a_macro_can_say_its_schemas() {
    let double = Procedure::new("net.example.double", |_: Context, number: i64| async move {
        Ok::<_, Infallible>(number * 2)
    });
    assert_eq!(double.make_schemas().payload, None);
    let double = double.schemas(almanet::Schemas::of::<i64, i64, GreetError>);
    let schemas = double.make_schemas();
    assert_eq!(schemas.payload.unwrap()["type"], "integer");
    assert_eq!(schemas.errors.first().unwrap().name, "denied");
}
