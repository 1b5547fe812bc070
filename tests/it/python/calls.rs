//! Calls of the package, as they were recorded, to a service in Rust: the answers are what the package reads.

use std::{convert::Infallible, time::Duration};

use almanet::{Context, Procedure, RpcError, Service, ServiceHandle, Session};
use almanet_tests::{TestBroker, unique};
use tokio::sync::mpsc;

use super::peer::{Inbox, Peer, SESSION};

const CALL: &str = "9fbfc731fd414206a9628e9cbb80c4a5";

#[derive(Debug, thiserror::Error, RpcError)]
enum GreetError {
    #[error("{name} is not welcome")]
    Denied { name: String },
    #[error("{0}")]
    Plain(String),
    #[error("the shop is closed")]
    Closed,
}

/// Answers as the Python service of the recording did.
fn greet(uri: &str) -> Procedure {
    Procedure::new(uri, |_: Context, name: String| async move {
        match name.as_str() {
            "Bob" => Err(GreetError::Denied { name }),
            "plain" => Err(GreetError::Plain("sorry".into())),
            "none" => Err(GreetError::Closed),
            "bomb" => panic!("the password is 1234"),
            "nothing" => Ok(None),
            "Anne" => Ok(Some("Änne ☃ \u{2028} \"q\" \\ \n".to_owned())),
            _ => Ok(Some(format!("Hello, {name}!"))),
        }
    })
}

/// A call as the package writes it; `payload` is the JSON inside, escaped.
fn call(payload: &str, reply_topic: &str, expires: &str) -> String {
    format!(
        r#"{{"id":"{CALL}","caller_id":"{SESSION}","payload":"{payload}","reply_topic":"{reply_topic}","expires":{expires}}}"#
    )
}

/// A Rust service, and where the recorded caller listens.
struct Scene {
    peer: Peer,
    uri: String,
    topic: String,
    reply_topic: String,
    replies: Inbox,
    session: Session,
}

impl Scene {
    async fn set(broker: &TestBroker) -> Self {
        let peer = Peer::connect(broker).await;
        let uri = unique("test.python");
        // A session id of its own, so that tests share an nsqd.
        let reply_topic = format!("_rpc_._reply_.{}#ephemeral", unique("r"));
        let replies = peer.listen(&reply_topic, "almanet.python#ephemeral").await;
        Self {
            topic: format!("_rpc_.{uri}"),
            session: broker.session().await,
            peer,
            uri,
            reply_topic,
            replies,
        }
    }

    async fn serve(&self, procedure: Procedure) -> ServiceHandle {
        let service = Service::new().procedure(procedure);
        service.start(&self.session).await.unwrap()
    }

    /// The answer to a call with this payload, without the id of the call.
    async fn ask(&mut self, payload: &str, expires: &str) -> String {
        let body = call(payload, &self.reply_topic, expires);
        self.peer.publish(&self.topic, &body).await;
        let reply = self.replies.next().await;
        let (begin, answer) = reply.split_at(r#"{"call_id":"","#.len() + CALL.len());
        assert_eq!(begin, format!(r#"{{"call_id":"{CALL}","#));
        answer.to_owned()
    }
}

#[tokio::test]
async fn answers_have_the_bytes_of_a_python_services() {
    let broker = TestBroker::start().await;
    let mut scene = Scene::set(&broker).await;
    let _service = scene.serve(greet(&scene.uri)).await;

    for (payload, answer) in [
        // What the package's own service sent.
        (
            r#"\"Aidar\""#,
            r#""is_exception":false,"payload":"\"Hello, Aidar!\""}"#,
        ),
        (r#"\"nothing\""#, r#""is_exception":false,"payload":"null"}"#),
        (
            r#"\"Anne\""#,
            "\"is_exception\":false,\"payload\":\"\\\"Änne ☃ \u{2028} \\\\\\\"q\\\\\\\" \\\\\\\\ \\\\n\\\"\"}",
        ),
        (
            r#"\"Bob\""#,
            r#""is_exception":true,"payload":"{\"name\":\"denied\",\"payload\":\"{\\\"name\\\":\\\"Bob\\\"}\"}"}"#,
        ),
        (
            r#"\"plain\""#,
            r#""is_exception":true,"payload":"{\"name\":\"plain\",\"payload\":\"\\\"sorry\\\"\"}"}"#,
        ),
        (
            r#"\"none\""#,
            r#""is_exception":true,"payload":"{\"name\":\"closed\",\"payload\":\"null\"}"}"#,
        ),
        // The names are the package's, the sentences are not.
        (
            r#"\"bomb\""#,
            r#""is_exception":true,"payload":"{\"name\":\"InternalError\",\"payload\":\"\\\"the procedure failed\\\"\"}"}"#,
        ),
        (
            "5",
            r#""is_exception":true,"payload":"{\"name\":\"rpc_invalid_payload\",\"payload\":\"\\\"invalid type: integer `5`, expected a string at line 1 column 1\\\"\"}"}"#,
        ),
    ] {
        assert_eq!(scene.ask(payload, "5").await, answer, "{payload}");
    }
}

#[tokio::test]
async fn a_handler_has_the_time_that_its_python_caller_waits() {
    let broker = TestBroker::start().await;
    let mut scene = Scene::set(&broker).await;
    let remaining = Procedure::new(&scene.uri, |context: Context, (): ()| async move {
        // In tenths of a second, rounded up.
        Ok::<_, Infallible>(context.remaining().map(|left| left.as_millis().div_ceil(100)))
    });
    let _service = scene.serve(remaining).await;

    let answer = |tenths: &str| format!(r#""is_exception":false,"payload":"{tenths}"}}"#);
    // So many that a slow machine does not matter.
    let left: u64 = {
        let answer = scene.ask("null", "3600").await;
        let payload = answer.rsplit(':').next().unwrap();
        payload.trim_matches(['"', '}']).parse().unwrap()
    };
    assert!((30_000..=36_000).contains(&left), "{left}");
    assert_eq!(scene.ask("null", "null").await, answer("null"));
}

#[tokio::test]
async fn a_call_whose_python_caller_has_given_up_is_not_run() {
    let broker = TestBroker::start().await;
    let mut scene = Scene::set(&broker).await;
    let (runs, mut ran) = mpsc::unbounded_channel();
    let note = Procedure::new(&scene.uri, move |_: Context, text: String| {
        runs.send(text).unwrap();
        async { Ok::<_, Infallible>(()) }
    });
    let _service = scene.serve(note.concurrency(1)).await;

    let expired = call(r#"\"expired\""#, &scene.reply_topic, "0");
    scene.peer.publish(&scene.topic, &expired).await;
    scene.ask(r#"\"in time\""#, "60").await;
    assert_eq!(ran.recv().await.unwrap(), "in time");
}

#[tokio::test]
async fn a_delayed_call_is_run_and_not_answered() {
    let broker = TestBroker::start().await;
    let mut scene = Scene::set(&broker).await;
    let (runs, mut ran) = mpsc::unbounded_channel();
    let note = Procedure::new(&scene.uri, move |_: Context, numbers: Vec<i64>| {
        runs.send(numbers).unwrap();
        async { Ok::<_, Infallible>(7) }
    });
    let _service = scene.serve(note).await;

    // The package's `delay` is in milliseconds: `DPUB <topic> 5` for a delay of 5.
    let delay = Some(Duration::from_millis(5));
    let body = call("[3,4]", "", "60");
    scene.peer.publish_after(&scene.topic, &body, delay).await;
    assert_eq!(ran.recv().await.unwrap(), [3, 4]);

    // That it would have been answered shows in that this answer would not be the first.
    assert_eq!(
        scene.ask("[5]", "60").await,
        r#""is_exception":false,"payload":"7"}"#
    );
}

#[tokio::test]
async fn a_multicall_is_answered_by_each_channel() {
    let broker = TestBroker::start().await;
    let scene = Scene::set(&broker).await;
    let mut services = Vec::new();
    for (channel, factor) in [("almanet.one", 1), ("almanet.two", 10)] {
        let product = Procedure::new(&scene.uri, move |_: Context, number: i64| async move {
            Ok::<_, Infallible>(number * factor)
        });
        services.push(scene.serve(product.channel(channel)).await);
    }

    let reply_topic = format!("_rpc_._replies_.{}#ephemeral", unique("r"));
    let mut replies = scene.peer.listen(&reply_topic, "almanet.python#ephemeral").await;
    let body = call("7", &reply_topic, "60");
    scene.peer.publish(&scene.topic, &body).await;
    let mut answers = [replies.next().await, replies.next().await];
    answers.sort();
    let expected = ["7", "70"]
        .map(|product| format!(r#"{{"call_id":"{CALL}","is_exception":false,"payload":"{product}"}}"#));
    assert_eq!(answers, expected);
}
