//! The Python programs of docs/from-python.md do what it says.

use std::time::Duration;

use almanet::{Broker, BrokerConfig, Codec, Session};

use super::program::{Program, python};

const GUIDE: &str = include_str!("../../../docs/from-python.md");

/// The program of the guide whose first line names it, for the broker at `address`.
fn snippet(name: &str, address: &str) -> String {
    let begin = format!("```python\n# {name}\n");
    let (_, rest) = GUIDE.split_once(&begin).expect(name);
    let (text, _) = rest.split_once("\n```\n").unwrap();
    assert!(text.contains("127.0.0.1:4150"));
    text.replace("127.0.0.1:4150", address)
}

#[tokio::test]
async fn the_programs_of_the_guide_speak_to_each_other_and_to_rust() {
    let Some(python) = python() else { return };
    // Their procedure has a name that other runs on an nsqd would have too.
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let address = broker.tcp_addr().to_string();
    let _service = Program::start_text(&python, &snippet("service.py", &address));
    // Python's caller waits for 5 seconds, and the service may take longer to start.
    let session = Session::builder().address(&address).codec(Codec::Json);
    let session = session.connect().await.unwrap();
    let greet = |name: &str| {
        session
            .call::<String>("net.example.greet", name)
            .timeout(Duration::from_secs(60))
    };
    assert_eq!(greet("Aidar").await.unwrap(), "Hello, Aidar!");
    match greet("Bob").await {
        Err(almanet::CallError::Remote(error)) => assert_eq!(error.name(), "denied"),
        other => panic!("{other:?}"),
    }

    let mut caller = Program::start_text(&python, &snippet("caller.py", &address));
    assert_eq!(caller.line().await.unwrap(), "Hello, Aidar!");
    assert_eq!(caller.line().await.unwrap(), "Bob is not welcome");
    caller.end().await;
}
