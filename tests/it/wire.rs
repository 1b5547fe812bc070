//! The bytes of docs/protocol.md, as they are written there.

use std::time::Duration;

use almanet::{
    Codec, Control, ControlKind, EnvelopeError, Id, Invocation, Payload, RemoteError, Reply, StreamCredit,
    StreamEnd, StreamItems, transport::TopicName,
};
use bytes::Bytes;

const ID: Id = Id::from_bytes([0x11; 16]);
const CALLER: Id = Id::from_bytes([0x22; 16]);

fn invocation(codec: Codec) -> Invocation {
    let mut invocation = Invocation::new(CALLER, Payload::encode(codec, "Aidar").unwrap());
    invocation.id = ID;
    invocation.reply_topic = Some(TopicName::new("_rpc_._reply_.r#ephemeral").unwrap());
    invocation.timeout = Some(Duration::from_secs(5));
    invocation.headers.insert("tenant", "acme");
    invocation
}

#[test]
fn a_messagepack_invocation_has_the_documented_bytes() {
    let mut expected = vec![0x97, 0x01, 0xc4, 16];
    expected.extend([0x11; 16]);
    expected.extend([0xc4, 16]);
    expected.extend([0x22; 16]);
    expected.extend(b"\xb9_rpc_._reply_.r#ephemeral");
    expected.extend(b"\xcd\x13\x88");
    expected.extend(b"\x81\xa6tenant\xa4acme");
    expected.extend(b"\xc4\x06\xa5Aidar");

    let body = invocation(Codec::MessagePack).encode().unwrap();
    assert_eq!(
        body.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
    assert_eq!(Invocation::decode(&body).unwrap(), invocation(Codec::MessagePack));
}

#[test]
fn a_json_invocation_is_the_python_packages_with_three_more_keys() {
    let expected = concat!(
        r#"{"id":"11111111111111111111111111111111","caller_id":"22222222222222222222222222222222","#,
        r#""payload":"\"Aidar\"","reply_topic":"_rpc_._reply_.r#ephemeral","#,
        r#""expires":5,"timeout_ms":5000,"control":true,"headers":{"tenant":"acme"}}"#,
    );
    let body = invocation(Codec::Json).encode().unwrap();
    assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
    assert_eq!(Invocation::decode(&body).unwrap(), invocation(Codec::Json));
}

#[test]
fn a_json_invocation_of_the_python_package_is_read() {
    let body = concat!(
        r#"{"id": "11111111111111111111111111111111", "caller_id": "22222222222222222222222222222222", "#,
        r#""payload": "{\"name\": \"\u00c4nne\"}", "reply_topic": "", "colour": null}"#,
    );
    let invocation = Invocation::decode(&Bytes::from_static(body.as_bytes())).unwrap();
    assert_eq!((invocation.id, invocation.caller_id), (ID, CALLER));
    assert_eq!((invocation.reply_topic, invocation.timeout), (None, None));
    assert!(!invocation.takes_control, "the Python package knows none");
    let payload: serde_json::Value = invocation.payload.decode().unwrap();
    assert_eq!(payload, serde_json::json!({ "name": "Änne" }));
}

#[test]
fn messagepack_replies_have_the_documented_bytes() {
    let mut expected = vec![0x94, 0x01, 0xc4, 16];
    expected.extend([0x11; 16]);
    expected.extend(b"\xc0\xc4\x01\x07");
    let value = Reply::new(ID, Ok(Payload::encode(Codec::MessagePack, &7).unwrap()));
    let body = value.encode().unwrap();
    assert_eq!(
        body.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
    assert_eq!(Reply::decode(&body).unwrap(), value);

    let mut expected = vec![0x94, 0x01, 0xc4, 16];
    expected.extend([0x11; 16]);
    expected.extend(b"\xa6denied\xc4\x04\xa3Bob");
    let error = RemoteError::new("denied", Payload::encode(Codec::MessagePack, "Bob").unwrap());
    let error = Reply::new(ID, Err(error));
    let body = error.encode().unwrap();
    assert_eq!(
        body.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
    assert_eq!(Reply::decode(&body).unwrap(), error);
}

#[test]
fn a_reply_to_whoever_asks_who_answers_has_the_documented_bytes() {
    let mut expected = vec![0x95, 0x01, 0xc4, 16];
    expected.extend([0x11; 16]);
    expected.extend(b"\xc0\xc4\x01\x07\xc4\x10");
    expected.extend([0x22; 16]);
    let mut reply = Reply::new(ID, Ok(Payload::encode(Codec::MessagePack, &7).unwrap()));
    reply.responder = Some(CALLER);
    let body = reply.encode().unwrap();
    assert_eq!(
        body.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
    assert_eq!(Reply::decode(&body).unwrap(), reply);

    let expected = concat!(
        r#"{"call_id":"11111111111111111111111111111111","is_exception":false,"payload":"7","#,
        r#""responder":"22222222222222222222222222222222"}"#,
    );
    reply.outcome = Ok(Payload::encode(Codec::Json, &7).unwrap());
    let body = reply.encode().unwrap();
    assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
    assert_eq!(Reply::decode(&body).unwrap(), reply);
}

#[test]
fn control_messages_have_the_documented_bytes() {
    for (kind, name) in [
        (ControlKind::Running, "\u{7}running"),
        (ControlKind::Cancel, "\u{6}cancel"),
        (ControlKind::Clock, "\u{5}clock"),
    ] {
        let mut expected = vec![0x94, 0x01];
        expected.extend(name.as_bytes());
        expected[2] |= 0xa0;
        expected.extend([0xc4, 16]);
        expected.extend([0x11; 16]);
        expected.extend([0xc4, 16]);
        expected.extend([0x22; 16]);
        let control = Control::new(kind, ID, CALLER);
        let body = control.encode().unwrap();
        assert_eq!(
            body.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
        assert!(Control::sniff(&body) && Reply::decode(&body).is_err());
        assert_eq!(Control::decode(&body), Ok(Some(control)));
    }
}

#[test]
fn messages_about_streams_have_the_documented_bytes() {
    const RUN: Id = Id::from_bytes([0x33; 16]);
    let begin = |length: u8, kind: &[u8]| {
        let mut bytes = vec![0x90 | length, 0x01, 0xa0 | u8::try_from(kind.len()).unwrap()];
        bytes.extend(kind);
        for id in [0x11, 0x22, 0x33] {
            bytes.extend([0xc4, 16]);
            bytes.extend([id; 16]);
        }
        bytes
    };
    let mut items = StreamItems::new(ID, CALLER, RUN);
    items.first = 2;
    items.items = vec![Bytes::from_static(b"\x07"), Bytes::from_static(b"\x08")];
    let mut end = StreamItems::new(ID, CALLER, RUN);
    end.first = 4;
    end.end = Some(StreamEnd::new(Ok(())));
    let mut failed = StreamItems::new(ID, CALLER, RUN);
    failed.attempt = 300;
    let payload = Payload::encode(Codec::MessagePack, "Bob").unwrap();
    failed.end = Some(StreamEnd::new(Err(RemoteError::new("denied", payload))));
    let messages: [(StreamItems, &[u8]); 3] = [
        (items, b"\x01\x02\x92\xc4\x01\x07\xc4\x01\x08\xc0"),
        (end, b"\x01\x04\x90\x92\xc0\xc4\x00"),
        (failed, b"\xcd\x01\x2c\x00\x90\x92\xa6denied\xc4\x04\xa3Bob"),
    ];
    for (message, rest) in messages {
        let mut expected = begin(9, b"items");
        expected.extend(rest);
        let body = message.encode().unwrap();
        assert_eq!(
            body.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
        assert_eq!(StreamItems::decode(&body).unwrap(), message);
        assert!(StreamItems::sniff(&body) && Control::sniff(&body) && Reply::decode(&body).is_err());
        // One that knows nothing of streams passes over it.
        assert_eq!(Control::decode(&body), Ok(None));
    }
    for (up_to, rest) in [(Some(128), &b"\xcc\x80"[..]), (None, b"\xc0")] {
        let credit = StreamCredit::new(ID, CALLER, RUN, up_to);
        let mut expected = begin(6, b"credit");
        expected.extend(rest);
        let body = credit.encode().unwrap();
        assert_eq!(
            body.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
        assert_eq!(StreamCredit::decode(&body).unwrap(), credit);
        assert!(Control::sniff(&body) && !StreamItems::sniff(&body));
        assert!(StreamItems::decode(&body).is_err());
    }
}

#[test]
fn messages_about_streams_show_no_items() {
    let mut items = StreamItems::new(ID, CALLER, ID);
    items.items = vec![Bytes::from_static(b"secret")];
    items.end = Some(StreamEnd::new(Err(RemoteError::new(
        "denied",
        Payload::encode(Codec::Json, "secret").unwrap(),
    ))));
    let shown = format!("{items:?}");
    assert!(shown.contains("denied") && !shown.contains("secret"), "{shown}");
}

#[test]
fn no_reply_is_taken_for_a_control_message() {
    for codec in [Codec::MessagePack, Codec::Json] {
        let payload = || Payload::encode(codec, "running").unwrap();
        let value = Reply::new(ID, Ok(payload()));
        let error = Reply::new(ID, Err(RemoteError::new("cancel", payload())));
        for reply in [value, error] {
            assert!(!Control::sniff(&reply.encode().unwrap()), "{reply:?}");
        }
    }
}

#[test]
fn control_messages_of_later_versions_are_passed_over_and_broken_ones_refused() {
    let decode = |body: Vec<u8>| Control::decode(&Bytes::from(body));
    let longer = rmp_serde::to_vec(&(1, "cancel", ID, CALLER, "later")).unwrap();
    assert_eq!(
        decode(longer),
        Ok(Some(Control::new(ControlKind::Cancel, ID, CALLER)))
    );
    let unknown = rmp_serde::to_vec(&(1, "credit", 7)).unwrap();
    assert!(Control::sniff(&unknown));
    assert_eq!(decode(unknown), Ok(None));
    let short = rmp_serde::to_vec(&(1, "cancel", ID)).unwrap();
    assert!(decode(short).is_err());
    let other = rmp_serde::to_vec(&(2, "cancel", ID, CALLER)).unwrap();
    assert!(decode(other).is_err());
}

#[test]
fn json_replies_are_the_python_packages() {
    let value = Reply::new(ID, Ok(Payload::encode(Codec::Json, "Hello, Aidar!").unwrap()));
    let expected = r#"{"call_id":"11111111111111111111111111111111","is_exception":false,"payload":"\"Hello, Aidar!\""}"#;
    let body = value.encode().unwrap();
    assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
    assert_eq!(Reply::decode(&body).unwrap(), value);

    let error = RemoteError::new("denied", Payload::encode(Codec::Json, &("Bob", 1)).unwrap());
    let error = Reply::new(ID, Err(error));
    let expected = concat!(
        r#"{"call_id":"11111111111111111111111111111111","is_exception":true,"#,
        r#""payload":"{\"name\":\"denied\",\"payload\":\"[\\\"Bob\\\",1]\"}"}"#,
    );
    let body = error.encode().unwrap();
    assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
    assert_eq!(Reply::decode(&body).unwrap(), error);
}

#[test]
fn the_three_forms_of_a_python_payload_are_read() {
    let read = |payload: &str| {
        let id = ID.to_string();
        let body = format!(r#"{{"call_id": "{id}", "is_exception": false, "payload": {payload}}}"#);
        let reply = Reply::decode(&Bytes::from(body)).unwrap();
        reply.outcome.unwrap().decode::<serde_json::Value>().unwrap()
    };
    assert_eq!(
        read(r#""{\"a\": 1}""#),
        serde_json::json!({ "a": 1 }),
        "a string that holds JSON"
    );
    assert_eq!(
        read(r#""raw \"bytes\"""#),
        serde_json::json!("raw \"bytes\""),
        "a string that holds none"
    );
    assert_eq!(
        read(r#"{"uri": "x"}"#),
        serde_json::json!({ "uri": "x" }),
        "an object"
    );
}

#[test]
fn elements_that_a_later_version_adds_are_passed_over() {
    let longer = rmp_serde::to_vec(&(1, ID, None::<&str>, ID, None::<Id>, "later", vec![1, 2])).unwrap();
    assert_eq!(Reply::decode(&Bytes::from(longer)).unwrap().call_id, ID);

    let other = rmp_serde::to_vec(&(2, ID, None::<&str>, ID)).unwrap();
    let error = Reply::decode(&Bytes::from(other)).unwrap_err().to_string();
    assert!(error.contains("version 2"), "{error}");
}

#[test]
fn what_is_no_envelope_is_refused() {
    for body in [
        &b""[..],
        b"x",
        b"hello",
        b"{}",
        b"[]",
        b"\x90",
        b"\x97\x01",
        b"\xff\xff",
        b"\xdd\xff\xff\xff\xff",
    ] {
        let body = Bytes::copy_from_slice(body);
        assert!(Invocation::decode(&body).is_err(), "{}", body.escape_ascii());
        assert!(Reply::decode(&body).is_err(), "{}", body.escape_ascii());
    }
    assert_eq!(Reply::decode(&Bytes::new()), Err(EnvelopeError::Unknown));
}
