//! The JSON of IDENTIFY, both ways.

use almanet_nsq_proto::{Identify, IdentifyResponse};

/// IDENTIFY and its answer: what was read once reads the same again.
pub fn identify(data: &[u8]) {
    if let Ok(identify) = serde_json::from_slice::<Identify>(data) {
        let text = serde_json::to_vec(&identify).expect("what was read can be written");
        let again: Identify = serde_json::from_slice(&text).expect("what was written can be read");
        assert_eq!(identify, again);
    }
    if let Ok(answer) = serde_json::from_slice::<IdentifyResponse>(data) {
        let text = serde_json::to_vec(&answer).expect("what was read can be written");
        let again: IdentifyResponse = serde_json::from_slice(&text).expect("what was written can be read");
        assert_eq!(answer, again);
    }
}

pub(crate) fn identify_seeds() -> Vec<Vec<u8>> {
    let all_fields = IdentifyResponse {
        max_rdy_count: 2500,
        version: "1.3.0".to_owned(),
        msg_timeout: 60_000,
        snappy: true,
        ..IdentifyResponse::default()
    };
    vec![
        br#"{"client_id":"c","feature_negotiation":true,"heartbeat_interval":30000,"deflate_level":6}"#
            .to_vec(),
        br#"{"client_id":null,"sample_rate":-1,"unknown":[{}]}"#.to_vec(),
        serde_json::to_vec(&all_fields).expect("it can be written"),
    ]
}
