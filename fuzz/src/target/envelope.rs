//! What sessions and services say to each other.

use almanet::{
    Codec, Control, Id, Invocation, Payload, RemoteError, Reply, StreamCredit, StreamEnd, StreamItems,
};
use bytes::Bytes;

/// Invocations, replies, and what is said of streams: what was read once, written and read again, is the same. Payloads decode or say why not.
pub fn envelope(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    if let Ok(invocation) = Invocation::decode(&body) {
        let again = invocation.encode().expect("what was read can be written");
        let again = Invocation::decode(&again).expect("what was written can be read");
        assert_eq!(invocation, again);
        values(&invocation.payload);
    }
    if let Ok(reply) = Reply::decode(&body) {
        let again = reply.encode().expect("what was read can be written");
        let again = Reply::decode(&again).expect("what was written can be read");
        assert_eq!(reply, again);
        if let Ok(payload) = &reply.outcome {
            values(payload);
        }
    }
    if let Ok(items) = StreamItems::decode(&body) {
        let again = items.encode().expect("what was read can be written");
        assert_eq!(StreamItems::decode(&again), Ok(items));
    }
    if let Ok(credit) = StreamCredit::decode(&body) {
        let again = credit.encode().expect("what was read can be written");
        assert_eq!(StreamCredit::decode(&again), Ok(credit));
    }
    if Control::decode(&body).is_ok() {
        let _ = Control::sniff(data);
    }
    for codec in [Codec::MessagePack, Codec::Json] {
        values(&Payload::from_bytes(codec, body.clone()));
    }
    let _ = Codec::sniff(data);
}

fn values(payload: &Payload) {
    let _ = payload.decode::<serde_json::Value>();
    let _ = payload.decode::<(String, Option<u64>, Vec<f64>)>();
}

pub(crate) fn envelope_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for codec in [Codec::MessagePack, Codec::Json] {
        let payload = Payload::encode(codec, &("text", 7, [0.5])).expect("a payload");
        let invocation = Invocation::new(Id::random(), payload.clone());
        seeds.push(invocation.encode().expect("an envelope").to_vec());
        let error = RemoteError::new("TooOld", payload.clone());
        for outcome in [Ok(payload.clone()), Err(error)] {
            seeds.push(
                Reply::new(Id::random(), outcome)
                    .encode()
                    .expect("an envelope")
                    .to_vec(),
            );
        }
        seeds.push(payload.bytes().to_vec());
    }
    let mut items = StreamItems::new(Id::random(), Id::random(), Id::random());
    items.items = vec![Bytes::from_static(b"\x07")];
    seeds.push(items.encode().expect("a message").to_vec());
    items.end = Some(StreamEnd::new(Ok(())));
    seeds.push(items.encode().expect("a message").to_vec());
    let credit = StreamCredit::new(items.call_id, items.session_id, items.run, Some(128));
    seeds.push(credit.encode().expect("a message").to_vec());
    seeds
}
