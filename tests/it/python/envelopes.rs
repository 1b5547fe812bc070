//! How long a call may take, in the package's words: the key `expires`.

use std::time::Duration;

use almanet::{Codec, Id, Invocation, Payload, transport::TopicName};
use bytes::Bytes;

use super::peer::SESSION;

const CALL: &str = "9fbfc731fd414206a9628e9cbb80c4a5";

fn timeout(reply_topic: &str, more: &str) -> Option<Duration> {
    let body = format!(
        r#"{{"id":"{CALL}","caller_id":"{SESSION}","payload":"\"Aidar\"","reply_topic":"{reply_topic}"{more}}}"#
    );
    Invocation::decode(&Bytes::from(body)).unwrap().timeout
}

#[test]
fn a_call_expires_when_its_python_caller_says() {
    let read = |more| timeout(&format!("_rpc_._reply_.{SESSION}#ephemeral"), more);
    assert_eq!(read(r#","expires":5"#), Some(Duration::from_secs(5)));
    assert_eq!(read(r#","expires":2.0"#), Some(Duration::from_secs(2)));
    assert_eq!(read(r#","expires":0.5"#), Some(Duration::from_millis(500)));
    assert_eq!(read(r#","expires":0"#), Some(Duration::ZERO));
    assert_eq!(read(r#","expires":-3"#), Some(Duration::ZERO));
    assert_eq!(read(r#","expires":null"#), None);
    assert_eq!(read(r#","expires":1e300"#), None);
    assert_eq!(read(""), None, "packages before 1.3 say nothing");
    assert_eq!(
        read(r#","expires":5,"timeout_ms":4200"#),
        Some(Duration::from_millis(4200)),
        "the one with the finer unit counts"
    );
}

#[test]
fn a_call_for_which_nobody_waits_does_not_expire() {
    // The package writes 60 for every delayed call, even for one that it defers for longer than that.
    assert_eq!(timeout("", r#","expires":60"#), None);
}

#[test]
fn a_call_says_when_it_expires_in_whole_seconds() {
    let written = |timeout: Option<Duration>| {
        let payload = Payload::encode(Codec::Json, "Aidar").unwrap();
        let mut invocation = Invocation::new(Id::from_bytes([0x22; 16]), payload);
        invocation.reply_topic = Some(TopicName::new("_rpc_._reply_.r#ephemeral").unwrap());
        invocation.timeout = timeout;
        let body = invocation.encode().unwrap();
        assert_eq!(Invocation::decode(&body).unwrap(), invocation);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        body["expires"].as_u64().unwrap()
    };
    let year = 365 * 24 * 60 * 60;
    assert_eq!(written(Some(Duration::ZERO)), 0);
    assert_eq!(written(Some(Duration::from_millis(1))), 1);
    assert_eq!(written(Some(Duration::from_secs(5))), 5);
    assert_eq!(written(Some(Duration::from_millis(5001))), 6);
    assert_eq!(written(Some(Duration::from_secs(10 * year))), year);
    assert_eq!(written(None), year, "as long as it takes");
}
