//! Calls that name no valid topic for their answer: whoever calls is told all the same, where its session listens.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use almanet::{
    CallError, Codec, Context, Id, Procedure, Service, Session,
    transport::{
        ChannelName, NsqTransport, Publication, PublishError, SubscribeError, SubscribeOptions, Subscription,
        TopicName, Transport,
    },
};
use almanet_tests::{TestBroker, unique};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::timeout;

use crate::raw::{publish, transport};

/// Longer than anything here takes, so that a test that would hang fails instead.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service of one procedure, and how often it ran.
async fn served(session: &Session) -> (String, almanet::ServiceHandle, Arc<AtomicU32>) {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let uri = format!("almanet.test.{}", unique("answers"));
    let procedure = Procedure::new(&uri, move |_: Context, text: String| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, Infallible>(text) }
    });
    let service = Service::new().name(&uri).procedure(procedure);
    (uri, service.start(session).await.unwrap(), runs)
}

/// An array of MessagePack, or an object of JSON, that calls with "Aidar" and wants the answer at `a topic`.
fn invocation(codec: Codec, call: Id, caller: Id) -> Bytes {
    match codec {
        Codec::MessagePack => {
            let mut body = vec![0x97, 0x01, 0xc4, 16];
            body.extend(call.as_bytes());
            body.extend([0xc4, 16]);
            body.extend(caller.as_bytes());
            body.extend(b"\xa7a topic\xc0\x80\xc4\x06\xa5Aidar");
            body.into()
        }
        _ => format!(
            r#"{{"id":"{call}","caller_id":"{caller}","payload":"\"Aidar\"","reply_topic":"a topic","expires":60}}"#
        )
        .into(),
    }
}

/// The reply that says so.
fn refusal(codec: Codec, call: Id) -> Bytes {
    let reason = "field `reply_topic`: topic name \"a topic\" has the character ' ': only letters, digits, `.`, `_` and `-` \
                  are allowed, and the suffix `#ephemeral`";
    match codec {
        Codec::MessagePack => {
            let mut body = vec![0x94, 0x01, 0xc4, 16];
            body.extend(call.as_bytes());
            body.extend(b"\xb3rpc_invalid_payload");
            let length = u8::try_from(reason.len()).unwrap();
            body.extend([0xc4, length + 2, 0xd9, length]);
            body.extend(reason.as_bytes());
            body.into()
        }
        _ => {
            let inner = reason.replace('"', r#"\\\\\\\""#);
            format!(
                r#"{{"call_id":"{call}","is_exception":true,"payload":"{{\"name\":\"rpc_invalid_payload\",\"payload\":\"\\\"{inner}\\\"\"}}"}}"#
            )
            .into()
        }
    }
}

#[tokio::test]
async fn the_callers_session_is_told_in_its_codec() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (uri, service, runs) = served(&session).await;
    for codec in [Codec::MessagePack, Codec::Json] {
        let (call, caller) = (Id::random(), Id::random());
        let listening = transport(&broker).await;
        let mut replies = listening
            .subscribe(
                &TopicName::new(format!("_rpc_._reply_.{caller}#ephemeral")).unwrap(),
                &ChannelName::new("test#ephemeral").unwrap(),
                SubscribeOptions::default(),
            )
            .await
            .unwrap();
        publish(&broker, &format!("_rpc_.{uri}"), invocation(codec, call, caller)).await;
        let reply = timeout(PATIENCE, replies.recv()).await.unwrap().unwrap();
        assert_eq!(
            reply.body.escape_ascii().to_string(),
            refusal(codec, call).escape_ascii().to_string()
        );
        reply.finish().unwrap();
        replies.close().await;
        listening.close().await;
    }
    // Once each: what was answered is finished, and nothing has run but what can be answered.
    let echoed: String = session.call(&uri, "well").await.unwrap();
    assert_eq!((echoed.as_str(), runs.load(Ordering::SeqCst)), ("well", 1));
    let stats = session.introspect().procedure(&uri).stats().await.unwrap();
    assert_eq!(stats[0].procedures[0].malformed, 2);
    service.stop().await;
}

/// NSQ, where calls lose the dots in the names of their reply topics on the way.
#[derive(Debug)]
struct Garbling(NsqTransport);

fn garbled(body: &Bytes) -> Bytes {
    let prefix = b"_rpc_._reply_.";
    match body.windows(prefix.len()).position(|window| window == prefix) {
        Some(at) => [&body[..at], b"_rpc_ _reply_ ", &body[at + prefix.len()..]]
            .concat()
            .into(),
        None => body.clone(),
    }
}

#[async_trait]
impl Transport for Garbling {
    async fn publish(&self, mut publication: Publication) -> Result<(), PublishError> {
        publication.bodies = publication.bodies.iter().map(garbled).collect();
        self.0.publish(publication).await
    }

    async fn subscribe(
        &self,
        topic: &TopicName,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        self.0.subscribe(topic, channel, options).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

#[tokio::test]
async fn a_call_whose_reply_topic_is_garbled_fails_at_once() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let (uri, service, runs) = served(&serving).await;
    for codec in [Codec::MessagePack, Codec::Json] {
        let transport = Garbling(transport(&broker).await);
        let builder = Session::builder().transport(transport).codec(codec);
        let calling = builder.connect().await.unwrap();
        let call = calling.call::<String>(&uri, "Aidar").into_future();
        let error = timeout(PATIENCE, call).await.unwrap().unwrap_err();
        let CallError::InvalidPayload { reason, .. } = &error else {
            panic!("{error:?}")
        };
        assert!(
            reason.starts_with("field `reply_topic`: topic name \"_rpc_ _reply_ "),
            "{reason}"
        );
        calling.leave().await.unwrap();
    }
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    service.stop().await;
}
