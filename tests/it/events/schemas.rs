//! What services tell of the events that they consume.

use almanet::{
    Event, EventContext, EventSchema, PushConsumer, Service, Session, consumer, schemars, testing::TestBed,
};
use almanet_tests::echo;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Somebody joined.
#[derive(Serialize, Deserialize, Event, schemars::JsonSchema)]
#[schemars(crate = "almanet::schemars")]
#[event(topic = "net.example.joined", version = 2)]
struct UserJoined {
    name: String,
    title: Option<String>,
}

/// Has no schema.
#[derive(Serialize, Deserialize, Event)]
#[event(topic = "net.example.left")]
struct UserLeft {
    name: String,
}

/// Welcomes.
#[consumer(channel = "mailer", concurrency = 8, max_attempts = 5, timeout = "30s")]
async fn welcome(event: UserJoined) {
    drop(event);
}

#[consumer(topic = "net.example.archive", channel = "archive")]
async fn archive(event: UserJoined) {
    drop(event);
}

#[consumer(topic = "net.example.numbers", channel = "sum")]
async fn sum(number: u64) {
    let _ = number;
}

fn consumers() -> Service {
    let left = PushConsumer::of_event("mailer", |_: EventContext, _: UserLeft| async {});
    let logs = PushConsumer::matching("*.log", "archive", |_: EventContext, _: String| async {});
    let all = PushConsumer::broadcast("net.example.price", |_: EventContext, _: u64| async {});
    [
        welcome::consumer(),
        archive::consumer(),
        sum::consumer(),
        left,
        logs,
        all,
    ]
    .into_iter()
    .fold(Service::new().name("mails"), Service::consumer)
}

#[test]
fn an_event_type_tells_its_schema_if_it_has_one() {
    let schema = UserJoined::schema().unwrap();
    assert_eq!(schema["description"], "Somebody joined.");
    assert_eq!(schema["required"], json!(["name"]), "what may be missing is not");
    assert_eq!(UserLeft::schema(), None);
    assert_eq!((UserJoined::VERSION, UserLeft::VERSION), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn services_tell_topics_channels_versions_and_schemas_of_their_consumers() {
    let service = consumers().procedure(echo("net.example.echo"));
    let bed = TestBed::in_memory(service).await.unwrap();
    let ask = || bed.session().introspect().service("mails");
    let told = ask().event_schemas().await.unwrap();
    let brief = |told: &EventSchema| {
        let has_schema = told.schema.is_some();
        (told.topic.clone(), told.channel.clone(), told.version, has_schema)
    };
    let mut found: Vec<_> = told.iter().map(brief).collect();
    let own = found.iter().position(|(topic, ..)| topic == "net.example.price");
    let (_, channel, version, _) = found.remove(own.unwrap());
    assert!(channel.ends_with("#ephemeral") && version.is_none(), "{channel}");
    let expected = [
        ("*.log", "archive", None, false),
        ("net.example.archive", "archive", Some(2), true),
        ("net.example.joined", "mailer", Some(2), true),
        ("net.example.left", "mailer", Some(1), false),
        ("net.example.numbers", "sum", None, true),
    ];
    let expected = expected
        .map(|(topic, channel, version, schema)| (topic.to_owned(), channel.to_owned(), version, schema));
    assert_eq!(found, expected);
    let joined = told
        .iter()
        .find(|told| told.topic == "net.example.joined")
        .unwrap();
    assert_eq!(joined.description, "Welcomes.");
    assert_eq!(joined.instance.service, "mails");
    assert_eq!(joined.schema, UserJoined::schema());

    let info = ask().info().await.unwrap().remove(0);
    assert_eq!((info.procedures.len(), info.consumers.len()), (1, 6));
    let welcome = info.consumers.iter().find(|info| info.topic == UserJoined::TOPIC);
    let welcome = welcome.unwrap();
    assert_eq!(
        (welcome.timeout_ms, welcome.concurrency, welcome.max_attempts),
        (Some(30_000), 8, 5)
    );
    assert_eq!(welcome.version, Some(2));
    // Whoever asks about a procedure hears of that alone.
    let of_one = ask().procedure("net.example.echo");
    assert!(of_one.clone().event_schemas().await.unwrap().is_empty());
    assert!(of_one.info().await.unwrap().remove(0).consumers.is_empty());
    let schemas = ask().schemas().await.unwrap();
    assert_eq!(schemas.len(), 1, "consumers are no procedures: {schemas:?}");
}

/// A session whose service only consumes can be asked too.
#[tokio::test]
async fn a_consumer_alone_tells_of_itself() {
    let broker = almanet_tests::TestBroker::embedded().await;
    let session: Session = broker.session().await;
    let running = welcome::consumer().start(&session).await.unwrap();
    let told = session.introspect().event_schemas().await.unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    running.stop().await;
}
