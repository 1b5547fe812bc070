//! What services answer to whoever asks what they are.

use std::fmt::Debug;

use almanet::{Codec, EventSchema, Instance, InstanceInfo, InstanceStats, Payload, ProcedureSchema};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

/// Reports of services: what was read once, written and read again, is the same.
pub fn report(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for codec in [Codec::MessagePack, Codec::Json] {
        let payload = Payload::from_bytes(codec, body.clone());
        reads_the_same::<Instance>(&payload);
        reads_the_same::<InstanceInfo>(&payload);
        reads_the_same::<InstanceStats>(&payload);
        // A number of a schema may be another in the last place, as JSON writes it.
        reads_again::<ProcedureSchema>(&payload);
        reads_again::<EventSchema>(&payload);
    }
}

fn reads_the_same<T: Serialize + DeserializeOwned + PartialEq + Debug>(payload: &Payload) {
    if let Some((first, again)) = reads_again::<T>(payload) {
        assert_eq!(first, again);
    }
}

fn reads_again<T: Serialize + DeserializeOwned>(payload: &Payload) -> Option<(T, T)> {
    let first: T = payload.decode().ok()?;
    let again = Payload::encode(payload.codec(), &first).expect("what was read can be written");
    let again = again.decode().expect("what was written can be read");
    Some((first, again))
}

pub(crate) fn report_seeds() -> Vec<Vec<u8>> {
    let instance = json!({
        "service": "net.example", "version": "1.2.3",
        "id": "0123456789abcdef0123456789abcdef", "session": "ffffffffffffffffffffffffffffffff",
    });
    let counts = json!({
        "uri": "net.example.greet", "calls": 7, "in_flight": 1, "answered": 6, "errors": {"Denied": 2}, "expired": 0,
        "given_up": 0, "malformed": 1, "mean_us": 90, "p50_us": 80, "p90_us": 100, "p99_us": 900, "max_us": 1000,
    });
    let consumed = json!({
        "topic": "orders", "channel": "kitchen", "received": 9, "in_flight": 1, "ok": 5, "retried": 2, "dead_letter": 1,
        "not_put_aside": 0, "dropped": 0, "mean_us": 1, "p50_us": 1, "p90_us": 1, "p99_us": 2, "max_us": 3,
    });
    let procedure = json!({
        "uri": "net.example.greet", "channel": "almanet", "description": "Greets.", "tags": ["polite"],
        "timeout_ms": 2000, "concurrency": 64, "idempotent": true, "streaming": false,
    });
    let consumer = json!({
        "topic": "orders", "channel": "kitchen", "description": "", "version": 2, "timeout_ms": null,
        "concurrency": 8, "max_attempts": 5,
    });
    let reports = [
        json!({
            "instance": instance, "description": "Greetings", "process": 42, "almanet": "0.1.0", "uptime_ms": 12,
            "stopping": false, "procedures": [procedure], "consumers": [consumer],
        }),
        json!({"instance": instance, "uptime_ms": 12, "procedures": [counts], "consumers": [consumed]}),
        json!({
            "instance": instance, "uri": "net.example.greet", "description": "",
            "schemas": {"payload": {"type": "string"}, "result": null, "errors": []},
        }),
        json!({
            "instance": instance, "topic": "orders", "channel": "kitchen", "description": "", "version": null,
            "schema": {"minimum": 0.5},
        }),
        instance,
    ];
    let mut seeds = Vec::new();
    for codec in [Codec::MessagePack, Codec::Json] {
        for report in &reports {
            let payload = Payload::encode(codec, report).expect("a payload");
            seeds.push(payload.bytes().to_vec());
        }
    }
    seeds
}
