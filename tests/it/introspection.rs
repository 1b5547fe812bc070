//! Services say what they are and how they do, to whoever asks.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use almanet::{
    CallError, Codec, Context, Id, IntrospectError, Invocation, Payload, Procedure, ProcedureStats, RpcError,
    Service, Session, schemars, service,
    transport::{
        ChannelName, NsqTransport, NsqTransportConfig, Publication, SubscribeOptions, TopicName,
        Transport as _,
    },
};
use almanet_tests::{TestBroker, echo, unique};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// A service of one procedure that echoes, called `name`.
fn named(name: &str) -> Service {
    let uri = format!("almanet.test.{name}");
    Service::new()
        .name(name)
        .version("1.2.3")
        .description("Echoes.")
        .procedure(echo(&uri).description("Says it again.").tag("sound").idempotent())
        .procedure(echo(&format!("{uri}_hidden")).hidden())
}

/// Who of the services called `name` answers, within a time in which they surely do.
async fn pinged(session: &Session, name: &str) -> usize {
    let question = session
        .introspect()
        .service(name)
        .timeout(Duration::from_millis(500));
    question.ping().await.unwrap().len()
}

#[tokio::test]
async fn every_instance_says_what_it_is() {
    let broker = TestBroker::start().await;
    let name = unique("discovered");
    let uri = format!("almanet.test.{name}");
    let (first, second, asking) = (
        broker.session().await,
        broker.session().await,
        // Whoever asks need not speak the codec of those who answer.
        broker.session_with(|builder| builder.codec(Codec::Json)).await,
    );
    let services = [
        named(&name).start(&first).await.unwrap(),
        named(&name).start(&second).await.unwrap(),
    ];

    let found = asking.discover().await.unwrap();
    let found: Vec<_> = found
        .into_iter()
        .filter(|info| info.instance.service == name)
        .collect();
    let sessions: BTreeSet<Id> = found.iter().map(|info| info.instance.session).collect();
    assert_eq!(sessions, BTreeSet::from([first.id(), second.id()]));
    let [info, other] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_ne!(info.instance.id, other.instance.id);
    assert_eq!(info.instance.version, "1.2.3");
    assert_eq!(info.description, "Echoes.");
    assert_eq!(info.process, std::process::id());
    assert!(!info.stopping);
    let [procedure] = info.procedures.as_slice() else {
        panic!("one is hidden: {info:?}")
    };
    assert_eq!(procedure.uri, uri);
    assert_eq!(procedure.channel, "almanet");
    assert_eq!(procedure.description, "Says it again.");
    assert_eq!(procedure.tags, ["sound"]);
    assert!(procedure.idempotent);

    // One session serves two: each answers for itself.
    let more = unique("discovered");
    let third = named(&more).start(&first).await.unwrap();
    assert_eq!(pinged(&asking, &more).await, 1);
    let by_procedure = asking.introspect().procedure(&uri).ping().await.unwrap();
    assert_eq!(by_procedure.len(), 2);

    for service in services {
        service.stop().await;
    }
    assert_eq!(pinged(&asking, &name).await, 0, "those that ended say nothing");
    assert_eq!(pinged(&asking, &more).await, 1);
    third.stop().await;
}

#[derive(Debug, thiserror::Error, RpcError)]
enum Odd {
    #[error("odd")]
    #[rpc_error(name = "odd")]
    Number,
}

async fn stats(session: &Session, name: &str) -> ProcedureStats {
    let mut found = session.introspect().service(name).stats().await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0).procedures.remove(0)
}

#[tokio::test]
async fn what_became_of_the_calls_is_counted() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let name = unique("counted");
    let uri = format!("almanet.test.{name}");
    let (running, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entered, opened) = (Arc::clone(&running), Arc::clone(&gate));
    let procedure = Procedure::new(&uri, move |_: Context, number: u32| {
        let (entered, opened) = (Arc::clone(&entered), Arc::clone(&opened));
        async move {
            if number == 0 {
                entered.notify_one();
                opened.notified().await;
            }
            assert_ne!(number, 99, "as a bug would");
            if number % 2 == 1 {
                Err(Odd::Number)
            } else {
                Ok(number)
            }
        }
    });
    let service = Service::new()
        .name(&name)
        .procedure(procedure)
        .start(&session)
        .await
        .unwrap();
    assert_eq!(stats(&session, &name).await, {
        let mut none = ProcedureStats::default();
        none.uri.clone_from(&uri);
        none
    });

    let waiting = tokio::spawn(session.call::<u32>(&uri, &0).into_future());
    running.notified().await;
    for number in [2, 4, 6, 1, 3] {
        let _ = session.call::<u32>(&uri, &number).await;
    }
    assert!(matches!(
        session.call::<u32>(&uri, &99).await,
        Err(CallError::Internal { .. })
    ));
    assert!(matches!(
        session.call::<u32>(&uri, "two").await,
        Err(CallError::InvalidPayload { .. })
    ));
    publish(&broker, &format!("_rpc_.{uri}"), "no call").await;
    let mut late = Invocation::new(session.id(), Payload::encode(Codec::Json, &2).unwrap());
    late.timeout = Some(Duration::ZERO);
    publish(&broker, &format!("_rpc_.{uri}"), late.encode().unwrap()).await;
    // No order is promised: what was published is there when it is counted.
    let counted = loop {
        let counted = stats(&session, &name).await;
        if counted.expired > 0 && counted.malformed > 0 {
            break counted;
        }
    };
    assert_eq!((counted.calls, counted.in_flight, counted.answered), (8, 1, 7));
    assert_eq!((counted.expired, counted.malformed, counted.given_up), (1, 1, 0));
    let errors: Vec<_> = counted
        .errors
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    assert_eq!(
        errors,
        [("InternalError", 1), ("odd", 2), ("rpc_invalid_payload", 1)]
    );
    assert_eq!(counted.failed(), 4);
    assert!(0 < counted.max_us, "{counted:?}");
    assert!(counted.p50_us <= counted.p90_us && counted.p90_us <= counted.p99_us);
    assert!(counted.p99_us <= counted.max_us);

    gate.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap(), 0);
    let counted = loop {
        let counted = stats(&session, &name).await;
        if counted.in_flight == 0 {
            break counted;
        }
    };
    assert_eq!((counted.calls, counted.answered), (8, 8));

    // A caller that stops waiting: the run is given up at its deadline.
    let late = session.call::<u32>(&uri, &0).timeout(Duration::from_millis(50));
    assert!(matches!(late.await, Err(CallError::Timeout { .. })));
    while stats(&session, &name).await.given_up == 0 {}

    // One that still runs keeps the service from ending, and the service says so.
    let waiting = tokio::spawn(session.call::<u32>(&uri, &0).into_future());
    while stats(&session, &name).await.in_flight == 0 {}
    let stopping = tokio::spawn(service.stop());
    loop {
        let info = session.introspect().service(&name).info().await.unwrap();
        if info.first().is_some_and(|info| info.stopping) {
            break;
        }
    }
    gate.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap(), 0);
    stopping.await.unwrap();
}

/// Publishes a body as it is.
async fn publish(broker: &TestBroker, topic: &str, body: impl Into<bytes::Bytes>) {
    let transport = transport(broker).await;
    let publication = Publication::new(TopicName::new(topic).unwrap(), body.into());
    transport.publish(publication).await.unwrap();
    transport.close().await;
}

async fn transport(broker: &TestBroker) -> NsqTransport {
    NsqTransport::connect(vec![broker.address().to_owned()], NsqTransportConfig::default())
        .await
        .unwrap()
}

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
async fn a_service_that_is_not_to_be_asked_says_nothing() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (silent, seen) = (unique("silent"), unique("seen"));
    let off = named(&silent).introspection(false).start(&session).await.unwrap();
    assert_eq!(pinged(&session, &silent).await, 0);
    let on = named(&seen).start(&session).await.unwrap();
    assert_eq!(
        (pinged(&session, &seen).await, pinged(&session, &silent).await),
        (1, 0)
    );
    off.stop().await;
    on.stop().await;
}

#[tokio::test]
async fn asking_ends_with_the_session() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    // Nobody answers, so it waits for as long as it may.
    let question = session
        .introspect()
        .service(unique("nobody"))
        .timeout(Duration::from_secs(60));
    let (asked, left) = tokio::join!(question.ping(), async {
        // The first answer's place is there once the question has been published.
        let own = session
            .introspect()
            .timeout(Duration::from_millis(100))
            .ping()
            .await;
        assert!(own.is_ok());
        session.leave().await
    });
    left.unwrap();
    assert!(matches!(asked, Err(IntrospectError::SessionLeft)), "{asked:?}");
    assert!(matches!(
        session.discover().await,
        Err(IntrospectError::SessionLeft)
    ));
}

/// What one raw invocation of `topic` is answered with.
async fn answer_to(broker: &TestBroker, topic: &str, payload: &str) -> Value {
    let transport = transport(broker).await;
    let reply_topic = format!("_rpc_._replies_.{}#ephemeral", Id::random());
    let mut replies = transport
        .subscribe(
            &TopicName::new(&reply_topic).unwrap(),
            &ChannelName::new("almanet.python#ephemeral").unwrap(),
            SubscribeOptions::default(),
        )
        .await
        .unwrap();
    let id = Id::random();
    let body = json!({
        "id": id, "caller_id": Id::random(), "payload": payload, "reply_topic": reply_topic, "expires": 60,
    });
    let publication = Publication::new(TopicName::new(topic).unwrap(), body.to_string().into());
    transport.publish(publication).await.unwrap();
    let delivery = replies.recv().await.unwrap();
    let reply: Value = serde_json::from_slice(&delivery.body).unwrap();
    delivery.finish().unwrap();
    replies.close().await;
    transport.close().await;
    assert_eq!(reply["call_id"], json!(id));
    reply
}

#[tokio::test]
async fn a_session_of_another_language_can_ask() {
    let broker = TestBroker::embedded().await;
    let session = broker.session().await;
    let service = described::service().start(&session).await.unwrap();

    let reply = answer_to(&broker, "_rpc_._control_", "{\"ask\":\"ping\",\"later\":1}").await;
    assert_eq!(reply["is_exception"], false);
    let mut pong: Value = serde_json::from_str(reply["payload"].as_str().unwrap()).unwrap();
    let id: Id = serde_json::from_value(pong["id"].take()).unwrap();
    assert_ne!(id, session.id());
    assert_eq!(
        pong,
        json!({
            "service": "almanet.test.described", "version": env!("CARGO_PKG_VERSION"), "id": null,
            "session": session.id(),
        })
    );

    // A question that this version does not know is refused, and disturbs nobody.
    let reply = answer_to(&broker, "_rpc_._control_", "{\"ask\":\"weather\"}").await;
    assert_eq!(reply["is_exception"], true);
    assert!(
        reply["payload"]
            .as_str()
            .unwrap()
            .contains("unknown variant `weather`"),
        "{reply}"
    );
    publish(&broker, "_rpc_._control_", "no question").await;
    assert_eq!(pinged(&session, "almanet.test.described").await, 1);
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

#[test]
fn a_procedure_without_a_macro_can_say_its_schemas() {
    let double = Procedure::new("net.example.double", |_: Context, number: i64| async move {
        Ok::<_, Infallible>(number * 2)
    });
    assert_eq!(double.make_schemas().payload, None);
    let double = double.schemas(almanet::Schemas::of::<i64, i64, Odd>);
    let schemas = double.make_schemas();
    assert_eq!(schemas.payload.unwrap()["type"], "integer");
    assert_eq!(schemas.errors.first().unwrap().name, "odd");
}
