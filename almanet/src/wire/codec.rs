//! The two ways to write a value: MessagePack and JSON.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::scratch;

/// How a value is written.
///
/// A message does not say which one it holds; its first byte does ([`Codec::sniff`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Codec {
    /// MessagePack with the field names of structs, so that fields can be added and left out. The default: small
    /// and quick.
    #[default]
    MessagePack,
    /// JSON, as the Python package `almanet` speaks it.
    Json,
}

impl Codec {
    /// Writes `value`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the value's `Serialize` refuses, or the codec has no form for it (JSON: map keys that
    /// are no text).
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Bytes, EncodeError> {
        scratch::collect(|buffer| match self {
            Self::MessagePack => rmp_serde::encode::write_named(buffer, value).map_err(EncodeError::new),
            Self::Json => serde_json::to_writer(buffer, value).map_err(EncodeError::new),
        })
    }

    /// Reads a value that takes up all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] names the field and the reason.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, DecodeError> {
        match self {
            Self::MessagePack => {
                let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
                match T::deserialize(&mut deserializer) {
                    Ok(value) if is_at_end(&mut deserializer) => Ok(value),
                    Ok(_) => Err(DecodeError::new("", "bytes follow the value")),
                    Err(error) => Err(explain_messagepack::<T>(bytes, &error)),
                }
            }
            Self::Json => serde_json::from_slice(bytes).map_err(|error| {
                let field = || explain::<_, T>(&mut serde_json::Deserializer::from_slice(bytes));
                let explained = if error.is_data() { field() } else { None };
                explained.unwrap_or_else(|| DecodeError::new("", error.to_string()))
            }),
        }
    }

    /// Which codec wrote a whole value of these bytes; `None` for no bytes and for a single byte below 0x80, which
    /// can be a digit in JSON as well as a number in MessagePack.
    ///
    /// A MessagePack value whose first byte is below 0x80 is that one byte, and every JSON text begins with a byte
    /// below 0x80, so the first byte and the length decide.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [first, ..] if *first >= 0x80 => Some(Self::MessagePack),
            [] | [_] => None,
            _ => Some(Self::Json),
        }
    }
}

/// Whether nothing follows the value that was read. The decoder does not tell, but fails to find another value.
fn is_at_end<'de, R: rmp_serde::decode::ReadSlice<'de>>(
    deserializer: &mut rmp_serde::Deserializer<R>,
) -> bool {
    matches!(
        <()>::deserialize(deserializer),
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_))
    )
}

/// The reason why `bytes` are no `T`, in words for people.
///
/// The MessagePack decoder names markers (`FixStr(4)`) instead of types, so the same value is read as JSON's, whose
/// decoder speaks plainly. Where that has nothing to object, the first error stands.
fn explain_messagepack<T: DeserializeOwned>(bytes: &[u8], error: &rmp_serde::decode::Error) -> DecodeError {
    rmp_serde::from_slice::<serde_json::Value>(bytes)
        .ok()
        .and_then(explain::<_, T>)
        .or_else(|| explain::<_, T>(&mut rmp_serde::Deserializer::new(bytes)))
        .unwrap_or_else(|| DecodeError::new("", error.to_string()))
}

/// Reads the value once more, slowly, to learn which field is wrong; `None` when none is.
fn explain<'de, D, T>(deserializer: D) -> Option<DecodeError>
where
    D: serde::Deserializer<'de>,
    D::Error: std::fmt::Display,
    T: DeserializeOwned,
{
    let error = serde_path_to_error::deserialize::<_, T>(deserializer).err()?;
    let path = error.path().to_string();
    let path = if path == "." { String::new() } else { path };
    Some(DecodeError::new(path, error.inner().to_string()))
}

/// A value that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot encode the value: {reason}")]
pub struct EncodeError {
    reason: String,
}

impl EncodeError {
    pub(crate) fn new(error: impl std::fmt::Display) -> Self {
        Self {
            reason: error.to_string(),
        }
    }
}

/// Bytes that are not the value that was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    path: String,
    reason: String,
}

impl DecodeError {
    pub(crate) fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            reason: reason.into(),
        }
    }

    /// Where in the value the fault is, such as `address.lines[2]`; empty for the value as a whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong there.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "field `{}`: {}", self.path, self.reason)
        }
    }
}

impl std::error::Error for DecodeError {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Order {
        item: String,
        lines: Vec<u32>,
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_field() {
        let wrong = serde_json::json!({ "item": "coffee", "lines": [1, "two"] });
        for codec in [Codec::MessagePack, Codec::Json] {
            let bytes = codec.encode(&wrong).unwrap();
            let error = codec.decode::<Order>(&bytes).unwrap_err();
            assert_eq!(error.path(), "lines[1]");
            assert!(
                error
                    .to_string()
                    .starts_with("field `lines[1]`: invalid type: string \"two\""),
                "{error}"
            );
        }
    }

    #[test]
    fn bytes_behind_the_value_are_refused() {
        assert!(Codec::MessagePack.decode::<i64>(b"hello").is_err());
        for cut_off in [b"\x07\xda", b"\x07\x91", b"\x07\xc0"] {
            assert!(Codec::MessagePack.decode::<i64>(cut_off).is_err());
        }
        assert!(Codec::MessagePack.decode::<Option<i64>>(b"\xc0\x07").is_err());
        assert!(Codec::Json.decode::<i64>(b"1 2").is_err());
    }

    #[test]
    fn the_first_byte_tells_the_codec() {
        let values = [
            serde_json::json!({ "a": 1 }),
            serde_json::json!([]),
            serde_json::json!("text"),
            serde_json::json!(null),
            serde_json::json!(true),
            serde_json::json!(-7),
            serde_json::json!(1234),
        ];
        for value in values {
            for codec in [Codec::MessagePack, Codec::Json] {
                assert_eq!(
                    Codec::sniff(&codec.encode(&value).unwrap()),
                    Some(codec),
                    "{value} in {codec:?}"
                );
            }
        }
        assert_eq!(Codec::sniff(b"7"), None);
        assert_eq!(Codec::sniff(b""), None);
    }

    proptest! {
        #[test]
        fn values_round_trip(map in prop::collection::btree_map(".{0,8}", any::<Option<i64>>(), 0..8)) {
            for codec in [Codec::MessagePack, Codec::Json] {
                let bytes = codec.encode(&map).unwrap();
                prop_assert_eq!(&codec.decode::<BTreeMap<String, Option<i64>>>(&bytes).unwrap(), &map);
            }
        }

        #[test]
        fn arbitrary_bytes_are_an_error_or_a_value(bytes: Vec<u8>) {
            for codec in [Codec::MessagePack, Codec::Json] {
                let _ = codec.decode::<Order>(&bytes);
                let _ = codec.decode::<serde_json::Value>(&bytes);
            }
        }
    }
}
