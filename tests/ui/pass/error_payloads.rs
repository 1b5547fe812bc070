//! Every kind of variant is written and read again, in both codecs.

use almanet::{Codec, Payload, RemoteError, RpcError};

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum Failure {
    #[error("unit")]
    Unit,
    #[error("empty")]
    Empty {},
    #[error("one")]
    NewType(String),
    #[error("several")]
    SeveralValues(u8, String),
    #[error("named")]
    #[rpc_error(name = "by.name")]
    Named { r#type: u8, inner: Option<Box<Self>> },
}

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
#[error("struct")]
struct HTTPError;

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
#[error("struct")]
#[rpc_error(name = "pair")]
struct Pair(u8, u8);

impl serde::Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(0)
    }
}

impl<'de> serde::Deserialize<'de> for Failure {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer).map(|_| Failure::Unit)
    }
}

fn travels<E: RpcError + PartialEq>(error: E, name: &str) {
    for codec in [Codec::MessagePack, Codec::Json] {
        assert_eq!(error.name(), name);
        let remote = RemoteError::new(name, error.payload(codec).unwrap());
        assert_eq!(E::from_remote(remote).unwrap(), error);
    }
}

fn json(payload: &str) -> Payload {
    Payload::from_bytes(Codec::Json, payload.to_owned().into())
}

fn main() {
    travels(Failure::Unit, "unit");
    travels(Failure::Empty {}, "empty");
    travels(Failure::NewType("a".into()), "new_type");
    travels(Failure::SeveralValues(1, "a".into()), "several_values");
    travels(Failure::Named { r#type: 1, inner: Some(Box::new(Failure::Unit)) }, "by.name");
    travels(HTTPError, "http_error");
    travels(Pair(1, 2), "pair");

    let shapes = [
        (Failure::Unit, "null"),
        (Failure::Empty {}, "{}"),
        (Failure::NewType("a".into()), r#""a""#),
        (Failure::SeveralValues(1, "a".into()), r#"[1,"a"]"#),
        (Failure::Named { r#type: 1, inner: None }, r#"{"type":1,"inner":null}"#),
    ];
    for (error, shape) in shapes {
        assert_eq!(error.payload(Codec::Json).unwrap(), json(shape));
    }

    // A name without fields needs no payload to be known by.
    let remote = RemoteError::new("unit", json(r#"{"more":1}"#));
    assert_eq!(Failure::from_remote(remote).unwrap(), Failure::Unit);
    // What is not this type's comes back.
    for (name, payload) in [("other", "null"), ("new_type", "7"), ("several_values", "[1]")] {
        let remote = RemoteError::new(name, json(payload));
        assert_eq!(Failure::from_remote(remote.clone()).unwrap_err(), remote);
    }
}
