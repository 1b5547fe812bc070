//! What is published as an event.

use almanet::{Codec, EventBody, Headers, Payload};
use bytes::Bytes;

/// Events: whatever is no envelope is a bare payload, and an envelope that was read once, written and read again, is the
/// same.
pub fn event(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for default in [Codec::MessagePack, Codec::Json] {
        let Ok(event) = EventBody::decode(&body, default) else {
            continue;
        };
        assert!(event.payload.bytes().len() <= body.len(), "bytes from nowhere");
        let again = event.encode().expect("what was read can be written");
        if event.headers.is_empty() {
            assert_eq!(again, event.payload.bytes(), "without headers it is the payload");
            continue;
        }
        let again = EventBody::decode(&again, default).expect("what was written can be read");
        assert_eq!(event.headers, again.headers);
        assert_eq!(event.payload.codec(), again.payload.codec());
        // JSON in JSON loses the blanks around it.
        let bytes = [&event, &again].map(|event| event.payload.bytes().trim_ascii());
        assert_eq!(bytes[0], bytes[1]);
    }
}

pub(crate) fn event_seeds() -> Vec<Vec<u8>> {
    let mut headers = Headers::new();
    headers.insert("traceparent", "00-7-7-01");
    headers.insert("reason", "\"none\"");
    let payloads = [Codec::MessagePack, Codec::Json]
        .map(|codec| Payload::encode(codec, &("text", 7, [0.5])).expect("a payload"));
    // Bytes of somebody else, put aside with the reason.
    let foreign = Payload::from_bytes(Codec::Json, Bytes::from_static(b" \xff{"));
    let mut seeds = Vec::new();
    for payload in payloads.into_iter().chain([foreign]) {
        let event = EventBody::new(headers.clone(), payload);
        let body = event.encode().expect("an envelope");
        assert_eq!(EventBody::decode(&body, Codec::Json), Ok(event.clone()));
        seeds.extend([body.to_vec(), event.payload.bytes().to_vec()]);
    }
    seeds
}
