//! What the version of an event means: publishers and consumers of different versions share a topic.

use std::{error::Error, time::Duration};

use almanet::{Codec, Event, EventContext, Failure, Headers, PushConsumer, Session, testing::MemoryBroker};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::tally::PATIENCE;

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
#[event(topic = "net.example.joined")]
struct First {
    name: String,
}

/// May have a field more.
#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
#[event(topic = "net.example.joined", version = 2)]
struct Second {
    name: String,
    title: Option<String>,
    #[serde(default)]
    visits: u32,
}

/// Must have one, which is another event: it should have had a topic of its own.
#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
#[event(topic = "net.example.joined", version = 3)]
struct Third {
    name: String,
    id: u64,
}

fn first() -> First {
    First {
        name: "Aidar".to_owned(),
    }
}

fn second() -> Second {
    Second {
        name: "Sara".to_owned(),
        title: Some("Dr.".to_owned()),
        visits: 3,
    }
}

async fn session(codec: Codec) -> Session {
    let builder = Session::builder().transport(MemoryBroker::new().transport());
    builder.codec(codec).connect().await.unwrap()
}

/// What a consumer of `T` makes of the event.
async fn read_as<T: Event, E: Event>(session: &Session, event: &E) -> Result<T, String> {
    let mut consumer = session.consume_broadcast::<T>().await.unwrap().auto_ack();
    session.emit(event).await.unwrap();
    let read = consumer.recv().await.unwrap();
    read.map_err(|error| error.source().unwrap().to_string())
}

#[tokio::test]
async fn optional_fields_make_a_version_that_both_sides_can_read() {
    for codec in [Codec::Json, Codec::MessagePack] {
        let session = session(codec).await;
        // An unknown field is passed over.
        let read: First = read_as(&session, &second()).await.unwrap();
        assert_eq!(read.name, "Sara", "{codec:?}");
        // One that may be missing is.
        let read: Second = read_as(&session, &first()).await.unwrap();
        let expected = Second {
            name: "Aidar".to_owned(),
            title: None,
            visits: 0,
        };
        assert_eq!(read, expected, "{codec:?}");
        // One that must be there is named.
        let error = read_as::<Third, _>(&session, &first()).await.unwrap_err();
        assert!(error.contains("missing field `id`"), "{codec:?}: {error}");
    }
}

/// A consumer that gives up, and the version that each event told.
async fn refusing(session: &Session) -> (almanet::ServiceHandle, mpsc::UnboundedReceiver<Option<u32>>) {
    let (seen, versions) = mpsc::unbounded_channel();
    let consumer = PushConsumer::of_event("mailer", move |context: EventContext, _: Second| {
        seen.send(context.event_version()).unwrap();
        async { Err::<(), _>(Failure::permanent("no")) }
    });
    (consumer.start(session).await.unwrap(), versions)
}

#[tokio::test(start_paused = true)]
async fn the_version_travels_where_there_is_an_envelope_and_the_bare_body_stays_bare() {
    for codec in [Codec::Json, Codec::MessagePack] {
        let session = session(codec).await;
        let mut raw = session.consume::<Second>("raw").await.unwrap();
        let (running, mut versions) = refusing(&session).await;
        session.emit(&second()).await.unwrap();
        session.emit_all([&second()]).await.unwrap();
        session
            .emit_after(Duration::from_secs(1), &second())
            .await
            .unwrap();
        for _ in 0..3 {
            let event = raw.recv_timeout(PATIENCE).await.unwrap().unwrap();
            assert_eq!(event.delivery().body, codec.encode(&second()).unwrap());
            assert_eq!(event.event_version(), None);
            event.ack().unwrap();
            assert_eq!(versions.recv().await, Some(None));
        }

        let mut headers = Headers::new();
        headers.insert("tenant", "seven");
        session.emit_with(headers.clone(), &second()).await.unwrap();
        // What was published without a type has no version.
        session
            .produce_with(Second::TOPIC, headers, &second())
            .await
            .unwrap();
        for expected in [Some(2), None] {
            let event = raw.recv_timeout(PATIENCE).await.unwrap().unwrap();
            assert_eq!((event.event_version(), &*event), (expected, &second()));
            assert_eq!(event.headers().get("tenant"), Some("seven"));
            event.ack().unwrap();
            assert_eq!(versions.recv().await, Some(expected));
        }
        // Longer than brokers hold messages back, which takes an envelope.
        session
            .emit_after(Duration::from_secs(5000), &second())
            .await
            .unwrap();
        assert_eq!(versions.recv().await, Some(Some(2)));
        running.stop().await;

        // It goes along to the dead letters and back.
        let letters = session.dead_letters(Second::TOPIC).unwrap();
        let mut told: Vec<_> = letters
            .list()
            .await
            .unwrap()
            .iter()
            .map(|letter| letter.event_version())
            .collect();
        told.sort_unstable();
        assert_eq!(told, [None, None, None, None, Some(2), Some(2)]);
        let (_running, mut versions) = refusing(&session).await;
        letters
            .replay(|letter| letter.event_version() == Some(2))
            .await
            .unwrap();
        assert_eq!(versions.recv().await, Some(Some(2)));
        assert_eq!(versions.recv().await, Some(Some(2)));
    }
}
