//! Messages as they are on the wire, of peers in other languages or with faults.

use almanet::{
    Id,
    transport::{
        ChannelName, NsqTransport, NsqTransportConfig, Publication, SubscribeOptions, TopicName,
        Transport as _,
    },
};
use almanet_tests::TestBroker;
use serde_json::{Value, json};

/// Publishes a body as it is.
pub(crate) async fn publish(broker: &TestBroker, topic: &str, body: impl Into<bytes::Bytes>) {
    let transport = transport(broker).await;
    let publication = Publication::new(TopicName::new(topic).unwrap(), body.into());
    transport.publish(publication).await.unwrap();
    transport.close().await;
}

pub(crate) async fn transport(broker: &TestBroker) -> NsqTransport {
    NsqTransport::connect(vec![broker.address().to_owned()], NsqTransportConfig::default())
        .await
        .unwrap()
}

/// What one raw invocation of `topic` is answered with.
pub(crate) async fn answer_to(broker: &TestBroker, topic: &str, payload: &str) -> Value {
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
