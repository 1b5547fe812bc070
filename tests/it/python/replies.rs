//! Calls from Rust to a service of the package: its answers are those that were recorded.

use std::time::Duration;

use almanet::{Call, CallError, Codec, RpcError, Session};
use almanet_tests::{TestBroker, unique};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::peer::{Inbox, Peer};

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum GreetError {
    #[error("{name} is not welcome")]
    Denied { name: String },
    #[error("{0:?}")]
    Plain(Option<String>),
}

/// A session in Rust, and the recorded service that it calls.
struct Scene {
    peer: Peer,
    session: Session,
    uri: String,
    invocations: Inbox,
}

impl Scene {
    async fn set(broker: &TestBroker) -> Self {
        let (peer, uri) = (Peer::connect(broker).await, unique("test.python"));
        let topic = format!("_rpc_.{uri}");
        Self {
            session: broker.session_with(|builder| builder.codec(Codec::Json)).await,
            invocations: peer.listen(&topic, "almanet.python").await,
            peer,
            uri,
        }
    }

    /// What becomes of a call that the service answers with what follows `call_id` in the recording.
    async fn answered<T>(&mut self, answers: &[&str]) -> Result<T, CallError<GreetError>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let call: Call<T, GreetError> = self.session.call(&self.uri, "Aidar").expecting();
        let call = tokio::spawn(call.into_future());
        let id = id_of(&self.invocations.next().await);
        let reply_topic = format!("_rpc_._reply_.{}#ephemeral", self.session.id());
        for answer in answers {
            let reply = format!(r#"{{"call_id":"{id}",{answer}}}"#);
            self.peer.publish(&reply_topic, &reply).await;
        }
        call.await.unwrap()
    }
}

fn id_of(invocation: &str) -> String {
    let invocation: Value = serde_json::from_str(invocation).unwrap();
    invocation["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_call_has_the_bytes_that_the_package_reads() {
    let broker = TestBroker::start().await;
    let mut scene = Scene::set(&broker).await;
    let session = scene.session.id();
    let call = scene
        .session
        .call::<String>(&scene.uri, &json!({ "name": "Änne", "n": null }))
        .timeout(Duration::from_millis(60_500));
    let _call = tokio::spawn(call.into_future());
    let invocation = scene.invocations.next().await;
    let id = id_of(&invocation);
    assert_eq!(
        invocation,
        format!(r#"{{"id":"{id}","caller_id":"{session}","payload":"{{\"n\":null,\"name\":\"Änne\"}}","#,)
            + &format!(
                r#""reply_topic":"_rpc_._reply_.{session}#ephemeral","expires":61,"timeout_ms":60500,"control":true}}"#
            )
    );
}

#[tokio::test]
async fn values_of_a_python_service_are_read() {
    let broker = TestBroker::start().await;
    let mut scene = Scene::set(&broker).await;
    let greeting: String = scene
        .answered(&[r#""is_exception":false,"payload":"\"Hello, Aidar!\"""#])
        .await
        .unwrap();
    assert_eq!(greeting, "Hello, Aidar!");

    let text: String = scene
        .answered(&[
            "\"is_exception\":false,\"payload\":\"\\\"Änne ☃ \u{2028} \\\\\\\"q\\\\\\\" \\\\\\\\ \\\\n\\\"\"",
        ])
        .await
        .unwrap();
    assert_eq!(text, "Änne ☃ \u{2028} \"q\" \\ \n");

    let nothing: Option<String> = scene
        .answered(&[r#""is_exception":false,"payload":"null""#])
        .await
        .unwrap();
    assert_eq!(nothing, None);

    // A handler that returned `bytes`, which the package sends as they are.
    let raw: String = scene
        .answered(&[r#""is_exception":false,"payload":"raw \"bytes\"""#])
        .await
        .unwrap();
    assert_eq!(raw, "raw \"bytes\"");

    // What a function returned that was registered without a service, and was no `bytes`. The package cannot read that
    // itself, nor its schemas.
    let number: i64 = scene
        .answered(&[r#""is_exception":false,"payload":5"#])
        .await
        .unwrap();
    assert_eq!(number, 5);
    let nothing: Option<i64> = scene
        .answered(&[r#""is_exception":false,"payload":null"#])
        .await
        .unwrap();
    assert_eq!(nothing, None);
    let schema: Value = scene
        .answered(&[concat!(
            r#""is_exception":false,"payload":{"session_id":"5a6ccc0944f744f9bb27ef921f693b0a","#,
            r#""session_version":0.1,"routes":["obs.py.add:almanet.python"]}"#,
        )])
        .await
        .unwrap();
    assert_eq!(schema["routes"], json!(["obs.py.add:almanet.python"]));
}

#[tokio::test]
async fn errors_of_a_python_service_are_matched_by_their_type() {
    let broker = TestBroker::start().await;
    let mut scene = Scene::set(&broker).await;
    let remote = |answered: Result<String, CallError<GreetError>>| match answered {
        Err(CallError::Remote(error)) => error,
        other => panic!("{other:?}"),
    };
    let denied = scene
        .answered(&[r#""is_exception":true,"payload":"{\"name\":\"denied\",\"payload\":\"{\\\"name\\\":\\\"Bob\\\"}\"}""#])
        .await;
    assert_eq!(remote(denied), GreetError::Denied { name: "Bob".into() });

    let plain = scene
        .answered(&[r#""is_exception":true,"payload":"{\"name\":\"plain\",\"payload\":\"\\\"sorry\\\"\"}""#])
        .await;
    assert_eq!(remote(plain), GreetError::Plain(Some("sorry".into())));

    let plain = scene
        .answered(&[r#""is_exception":true,"payload":"{\"name\":\"plain\",\"payload\":\"null\"}""#])
        .await;
    assert_eq!(remote(plain), GreetError::Plain(None));
}

#[tokio::test]
async fn built_in_errors_of_the_package_are_known() {
    let broker = TestBroker::start().await;
    let mut scene = Scene::set(&broker).await;
    // The payload of this one is no JSON.
    let error = scene
        .answered::<String>(&[
            r#""is_exception":true,"payload":"{\"name\":\"InternalError\",\"payload\":\"oops\"}""#,
        ])
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Internal { .. }), "{error:?}");

    let error = scene
        .answered::<String>(&[concat!(
            r#""is_exception":true,"payload":"{\"name\":\"rpc_invalid_payload\",\"payload\":\"\\\"1 validation error for str\\\\n"#,
            r#"  Input should be a valid string [type=string_type, input_value=5, input_type=int]\\\"\"}""#,
        )])
        .await
        .unwrap_err();
    let CallError::InvalidPayload { reason, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(
        reason,
        "1 validation error for str\n  Input should be a valid string [type=string_type, input_value=5, input_type=int]"
    );

    let error = scene
        .answered::<String>(&[
            r#""is_exception":true,"payload":"{\"name\":\"rpc_invalid_return\",\"payload\":\"null\"}""#,
        ])
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::InvalidReturn { .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_comes_twice_is_passed_over() {
    // The package serves a procedure on each of its channels, so two of its services may answer one call.
    let broker = TestBroker::start().await;
    let mut scene = Scene::set(&broker).await;
    for name in ["first", "second"] {
        let answer = format!(r#""is_exception":false,"payload":"\"{name}\"""#);
        let twice = [answer.as_str(), r#""is_exception":false,"payload":"\"late\"""#];
        assert_eq!(scene.answered::<String>(&twice).await.unwrap(), name);
    }
}
