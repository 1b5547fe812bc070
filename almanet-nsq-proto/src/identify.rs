//! IDENTIFY: what a client asks for and what the broker grants.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, Visitor},
};

/// The body of IDENTIFY: who the client is and which features it asks for.
///
/// A field that is `None` is left out, and the broker uses its default. Numbers are as wide as nsqd reads them,
/// so that a broker can refuse what is out of range with nsqd's own words instead of failing to decode it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Identify {
    /// A name for this client, the short host name by custom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The host that the client runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Name and version of the client library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Whether the broker shall answer with an [`IdentifyResponse`] instead of `OK`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_negotiation: Option<bool>,
    /// Milliseconds between heartbeats; -1 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval: Option<i64>,
    /// Bytes that the broker gathers before it writes; -1 for no buffer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_buffer_size: Option<i64>,
    /// Milliseconds after which the broker writes what it gathered; -1 for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_buffer_timeout: Option<i64>,
    /// Milliseconds after which an unanswered message is delivered again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg_timeout: Option<i64>,
    /// Percentage of the channel's messages to receive, 0 (all) to 99.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<i64>,
    /// Whether to continue over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_v1: Option<bool>,
    /// Whether to continue with snappy compression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snappy: Option<bool>,
    /// Whether to continue with deflate compression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deflate: Option<bool>,
    /// Deflate level, 1 (fast) to 9 (small).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deflate_level: Option<i64>,
}

impl<'de> Deserialize<'de> for Identify {
    /// Reads what nsqd reads, which is what Go's `encoding/json` does: names in any case, the last one of several, and
    /// `null` for what is not there.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdentifyVisitor)
    }
}

struct IdentifyVisitor;

impl<'de> Visitor<'de> for IdentifyVisitor {
    type Value = Identify;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the fields of IDENTIFY")
    }

    fn visit_unit<E>(self) -> Result<Identify, E> {
        Ok(Identify::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Identify, A::Error> {
        let mut identify = Identify::default();
        while let Some(mut name) = map.next_key::<String>()? {
            name.make_ascii_lowercase();
            match name.as_str() {
                "client_id" => take(&mut identify.client_id, &mut map)?,
                "hostname" => take(&mut identify.hostname, &mut map)?,
                "user_agent" => take(&mut identify.user_agent, &mut map)?,
                "feature_negotiation" => take(&mut identify.feature_negotiation, &mut map)?,
                "heartbeat_interval" => take(&mut identify.heartbeat_interval, &mut map)?,
                "output_buffer_size" => take(&mut identify.output_buffer_size, &mut map)?,
                "output_buffer_timeout" => take(&mut identify.output_buffer_timeout, &mut map)?,
                "msg_timeout" => take(&mut identify.msg_timeout, &mut map)?,
                "sample_rate" => {
                    // nsqd's field has 32 bits.
                    let rate: Option<i32> = map.next_value()?;
                    identify.sample_rate = rate.map(i64::from).or(identify.sample_rate);
                }
                "tls_v1" => take(&mut identify.tls_v1, &mut map)?,
                "snappy" => take(&mut identify.snappy, &mut map)?,
                "deflate" => take(&mut identify.deflate, &mut map)?,
                "deflate_level" => take(&mut identify.deflate_level, &mut map)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(identify)
    }
}

/// Puts the next value into `field`, unless it is `null`.
fn take<'de, T, A>(field: &mut Option<T>, map: &mut A) -> Result<(), A::Error>
where
    T: Deserialize<'de>,
    A: MapAccess<'de>,
{
    if let Some(value) = map.next_value()? {
        *field = Some(value);
    }
    Ok(())
}

/// The broker's answer to an [`Identify`] that asked for feature negotiation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdentifyResponse {
    /// The largest RDY count that the broker takes.
    pub max_rdy_count: i64,
    /// The broker's version.
    pub version: String,
    /// Milliseconds: the longest message timeout that the broker grants.
    pub max_msg_timeout: i64,
    /// Milliseconds: the message timeout of this connection.
    pub msg_timeout: i64,
    /// Whether the connection continues over TLS.
    pub tls_v1: bool,
    /// Whether the connection continues with deflate compression.
    pub deflate: bool,
    /// The deflate level that the broker uses.
    pub deflate_level: i64,
    /// The highest deflate level that the broker grants.
    pub max_deflate_level: i64,
    /// Whether the connection continues with snappy compression.
    pub snappy: bool,
    /// Percentage of the channel's messages that are delivered, 0 for all.
    pub sample_rate: i64,
    /// Whether the broker wants AUTH before anything else.
    pub auth_required: bool,
    /// Bytes that the broker gathers before it writes.
    pub output_buffer_size: i64,
    /// Milliseconds after which the broker writes what it gathered.
    pub output_buffer_timeout: i64,
    /// Whether the broker writes as soon as it has nothing more to send, as Almanet's embedded broker does.
    ///
    /// nsqd does not have this field: it buffers as the two fields above say. Absent, it is `false`.
    #[serde(skip_serializing_if = "is_false")]
    pub flushes_when_idle: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_not_set_are_not_sent() {
        let identify = Identify {
            msg_timeout: Some(10_000),
            ..Identify::default()
        };
        assert_eq!(
            serde_json::to_string(&identify).unwrap(),
            r#"{"msg_timeout":10000}"#
        );
    }

    #[test]
    fn nulls_and_unknown_fields_are_ignored() {
        let identify: Identify = serde_json::from_str(r#"{"client_id":null,"colour":"red"}"#).unwrap();
        assert_eq!(identify, Identify::default());
    }

    #[test]
    fn it_is_read_as_go_reads_it() {
        let read = |text| serde_json::from_str::<Identify>(text).ok();
        let of = |sample_rate| {
            Some(Identify {
                sample_rate,
                ..Identify::default()
            })
        };
        assert_eq!(read("null"), of(None));
        assert_eq!(
            read(r#"{"SAMPLE_Rate":1,"sample_rate":2,"sample_rate":null}"#),
            of(Some(2))
        );
        for refused in [
            "[]",
            "1",
            r#"{"sample_rate":4294967296}"#,
            r#"{"sample_rate":1.0}"#,
            "{}{}",
        ] {
            assert_eq!(read(refused), None, "{refused}");
        }
    }

    #[test]
    fn an_answer_of_nsqd_is_read() {
        let text = r#"{"max_rdy_count":2500,"version":"1.3.0","msg_timeout":60000,"topology_zone":""}"#;
        let response: IdentifyResponse = serde_json::from_str(text).unwrap();
        assert_eq!((response.max_rdy_count, response.msg_timeout), (2500, 60_000));
        assert!(!response.flushes_when_idle);
    }
}
