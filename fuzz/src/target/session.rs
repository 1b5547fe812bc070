//! Whatever somebody publishes where sessions listen.

use std::{convert::Infallible, time::Duration};

use almanet::{
    Codec, Context, Invocation, Payload, Procedure, Reply, Service, Session,
    testing::MemoryBroker,
    transport::{Publication, TopicName, Transport},
};
use bytes::Bytes;
use serde_json::json;

use super::runtime::run;

const URI: &str = "net.example.greet";

/// A message on the topic of a procedure, on that of questions to services, and on the reply topics of a caller and of the
/// service: it disturbs nobody, so that a call and a question that come behind it are answered.
pub fn session(data: &[u8]) {
    if data.is_empty() {
        return;
    }
    run(async {
        let broker = MemoryBroker::new();
        let serving = connect(&broker).await;
        let calling = connect(&broker).await;
        let echo = Procedure::new(URI, |_: Context, text: String| async move {
            Ok::<_, Infallible>(text)
        });
        let service = Service::new()
            .procedure(echo)
            .start(&serving)
            .await
            .expect("a service");
        // It listens for replies from its first call on.
        call(&calling).await;

        let publishing = broker.transport();
        let topics = [
            format!("_rpc_.{URI}"),
            "_rpc_._control_".to_owned(),
            format!("_rpc_._reply_.{}#ephemeral", calling.id()),
            format!("_rpc_._reply_.{}#ephemeral", serving.id()),
        ];
        for topic in topics {
            let topic = TopicName::new(topic).expect("a name");
            let publication = Publication::new(topic, Bytes::copy_from_slice(data));
            publishing.publish(publication).await.expect("published");
        }

        call(&calling).await;
        // A body may be a question of its own, which the service answers too; but not to this session.
        let asked = calling.introspect().quiet(Duration::ZERO).ping().await;
        assert_eq!(
            asked.expect("asked").len(),
            1,
            "the service does not say that it is there"
        );
        service.stop().await;
        calling.leave().await.expect("left");
        serving.leave().await.expect("left");
    });
}

async fn connect(broker: &MemoryBroker) -> Session {
    let builder = Session::builder().transport(broker.transport());
    builder.connect().await.expect("a session")
}

async fn call(session: &Session) {
    let answer = session
        .call::<String>(URI, "Aidar")
        .timeout(Duration::from_secs(3))
        .await;
    assert_eq!(answer.expect("an answer"), "Aidar");
}

pub(crate) fn session_seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::envelope_seeds();
    for codec in [Codec::MessagePack, Codec::Json] {
        for ask in ["ping", "info", "stats", "schema", "event_schema", "else"] {
            let payload = Payload::encode(codec, &json!({"ask": ask, "service": null})).expect("a payload");
            let mut question = Invocation::new(almanet::Id::random(), payload.clone());
            question.reply_topic = Some(TopicName::new("_rpc_._reply_.0#ephemeral").expect("a name"));
            seeds.push(question.encode().expect("an envelope").to_vec());
            let reply = Reply::new(almanet::Id::random(), Ok(payload));
            seeds.push(reply.encode().expect("an envelope").to_vec());
        }
    }
    seeds
}
