//! IDENTIFY: negotiation, and what is refused.

use std::time::Duration;

use almanet_broker::BrokerConfig;

use crate::support::{Target, identify};

#[tokio::test]
async fn without_negotiation_the_answer_is_ok() {
    let target = Target::start().await;
    let mut client = target.client().await;
    client
        .send(&identify(r#"{"client_id":"me","hostname":null}"#))
        .await;
    client.expect_response("OK").await;
    client.send(&identify("{}")).await;
    client.expect_response("OK").await;
}

#[tokio::test]
async fn negotiation_is_answered_with_what_holds() {
    let target = Target::start().await;
    let mut client = target.client().await;
    client
        .send(&identify(
            r#"{"feature_negotiation":true,"msg_timeout":2000,"sample_rate":10,"output_buffer_size":-1,
                "heartbeat_interval":5000,"unknown":[1]}"#,
        ))
        .await;
    let (kind, data) = client.frame().await;
    assert_eq!(kind, 0);
    let mut answer: serde_json::Value = serde_json::from_slice(&data).unwrap();
    let version = answer["version"].take();
    assert!(version.as_str().unwrap().starts_with("1.3.0"), "{version}");
    let flushes = answer.as_object_mut().unwrap().remove("flushes_when_idle");
    assert_eq!(flushes.is_some(), target.is_embedded());
    assert_eq!(
        answer,
        serde_json::json!({
            "max_rdy_count": 2500, "version": null, "max_msg_timeout": 900_000, "msg_timeout": 2000,
            "tls_v1": false, "deflate": false, "deflate_level": 6, "max_deflate_level": 6, "snappy": false,
            "sample_rate": 10, "auth_required": false, "output_buffer_size": 1, "output_buffer_timeout": 0
        })
    );
}

#[tokio::test]
async fn the_defaults_are_nsqds() {
    let target = Target::start().await;
    let mut client = target.client().await;
    client.send(&identify(r#"{"feature_negotiation":true}"#)).await;
    let (_, data) = client.frame().await;
    let answer: serde_json::Value = serde_json::from_slice(&data).unwrap();
    assert_eq!(answer["msg_timeout"], 60_000);
    assert_eq!(answer["output_buffer_size"], 16_384);
    assert_eq!(answer["output_buffer_timeout"], 250);
    assert_eq!(answer["sample_rate"], 0);
}

#[tokio::test]
async fn values_out_of_range_are_refused_in_nsqds_words() {
    let target = Target::start().await;
    for (field, value, words) in [
        ("heartbeat_interval", 100, "heartbeat interval (100)"),
        ("heartbeat_interval", -2, "heartbeat interval (-2)"),
        ("heartbeat_interval", 60_001, "heartbeat interval (60001)"),
        ("output_buffer_timeout", 24, "output buffer timeout (24)"),
        ("output_buffer_timeout", 30_001, "output buffer timeout (30001)"),
        ("output_buffer_size", 63, "output buffer size (63)"),
        ("output_buffer_size", 65_537, "output buffer size (65537)"),
        ("sample_rate", 100, "sample rate (100)"),
        ("sample_rate", -1, "sample rate (-1)"),
        ("msg_timeout", 999, "msg timeout (999)"),
        ("msg_timeout", 900_001, "msg timeout (900001)"),
    ] {
        let mut client = target.client().await;
        client.send(&identify(&format!(r#"{{"{field}":{value}}}"#))).await;
        client
            .expect_fatal(&format!("E_BAD_BODY IDENTIFY {words} is invalid"))
            .await;
    }
}

#[tokio::test]
async fn values_at_the_ends_of_their_ranges_are_taken() {
    let target = Target::start().await;
    for fields in [
        r#""heartbeat_interval":1000,"output_buffer_timeout":25,"output_buffer_size":64,"msg_timeout":1000"#,
        r#""heartbeat_interval":60000,"output_buffer_timeout":30000,"output_buffer_size":65536,"sample_rate":99"#,
        r#""heartbeat_interval":-1,"output_buffer_timeout":-1,"output_buffer_size":-1,"msg_timeout":900000"#,
        r#""heartbeat_interval":0,"output_buffer_timeout":0,"output_buffer_size":0,"msg_timeout":0"#,
    ] {
        let mut client = target.client().await;
        client.send(&identify(&format!("{{{fields}}}"))).await;
        client.expect_response("OK").await;
    }
}

#[tokio::test]
async fn the_bounds_of_output_buffers_are_those_that_are_set() {
    let config = BrokerConfig::default()
        .max_output_buffer_size(1000)
        .min_output_buffer_timeout(Duration::from_millis(10))
        .max_output_buffer_timeout(Duration::from_millis(2000))
        .output_buffer_timeout(Duration::from_millis(50));
    let target = Target::embedded(config).await;
    for (asked, size, timeout) in [
        ("", 16_384, 50),
        (r#""output_buffer_size":64,"output_buffer_timeout":10,"#, 64, 10),
        (
            r#""output_buffer_size":1000,"output_buffer_timeout":2000,"#,
            1000,
            2000,
        ),
        (r#""output_buffer_timeout":-1,"#, 16_384, 0),
    ] {
        let mut client = target.client().await;
        client
            .send(&identify(&format!(r#"{{{asked}"feature_negotiation":true}}"#)))
            .await;
        let (_, data) = client.frame().await;
        let answer: serde_json::Value = serde_json::from_slice(&data).unwrap();
        assert_eq!(answer["output_buffer_size"], size, "{asked}");
        assert_eq!(answer["output_buffer_timeout"], timeout, "{asked}");
    }
    for (field, value, words) in [
        ("output_buffer_timeout", 9, "output buffer timeout (9)"),
        ("output_buffer_timeout", 2001, "output buffer timeout (2001)"),
        ("output_buffer_size", 1001, "output buffer size (1001)"),
    ] {
        let mut client = target.client().await;
        client.send(&identify(&format!(r#"{{"{field}":{value}}}"#))).await;
        client
            .expect_fatal(&format!("E_BAD_BODY IDENTIFY {words} is invalid"))
            .await;
    }
    let info = target.get("/info").await.json();
    assert_eq!(info["max_output_buffer_size"], 1000);
    assert_eq!(info["max_output_buffer_timeout"], 2_000_000_000);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused() {
    let target = Target::start().await;
    for (body, words) in [
        (
            &b"IDENTIFY\n\0\0\0\x01{"[..],
            "IDENTIFY failed to decode JSON body",
        ),
        (b"IDENTIFY\n\0\0\0\0", "IDENTIFY invalid body size 0"),
        (b"IDENTIFY\n\xff\xff\xff\xff", "IDENTIFY invalid body size -1"),
        (
            b"IDENTIFY\n\0\x50\0\x01",
            "IDENTIFY body too big 5242881 > 5242880",
        ),
    ] {
        let mut client = target.client().await;
        client.send(body).await;
        client.expect_fatal(&format!("E_BAD_BODY {words}")).await;
    }
}

#[tokio::test]
async fn the_answer_is_nsqds_byte_for_byte() {
    let target = Target::start().await;
    let default = r#"{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250}"#;
    for (asked, from, to) in [
        ("", "", ""),
        (
            r#","sample_rate":50"#,
            r#""sample_rate":0"#,
            r#""sample_rate":50"#,
        ),
        (
            r#","deflate":true,"deflate_level":3"#,
            r#""deflate":false,"deflate_level":6"#,
            r#""deflate":true,"deflate_level":3"#,
        ),
        // A level without deflate is not looked at.
        (r#","deflate_level":3"#, "", ""),
        (r#","snappy":true"#, r#""snappy":false"#, r#""snappy":true"#),
        (
            r#","output_buffer_size":-1"#,
            r#"16384,"output_buffer_timeout":250"#,
            r#"1,"output_buffer_timeout":0"#,
        ),
        (
            r#","output_buffer_timeout":-1"#,
            r#""output_buffer_timeout":250"#,
            r#""output_buffer_timeout":0"#,
        ),
        (
            r#","msg_timeout":1500"#,
            r#""msg_timeout":60000"#,
            r#""msg_timeout":1500"#,
        ),
        (r#","heartbeat_interval":-1,"tls_v1":true"#, "", ""),
    ] {
        let mut client = target.client().await;
        client
            .send(&identify(&format!(r#"{{"feature_negotiation":true{asked}}}"#)))
            .await;
        let (_, data) = client.frame().await;
        let answer = String::from_utf8(data).unwrap();
        // What the embedded broker adds.
        let own = concat!("+almanet.", env!("CARGO_PKG_VERSION"));
        let answer = answer
            .replace(own, "")
            .replace(r#","flushes_when_idle":true"#, "");
        assert_eq!(answer, default.replacen(from, to, 1), "{asked}");
    }
}

#[tokio::test]
async fn a_body_is_read_as_go_reads_it() {
    let target = Target::start().await;
    for body in [
        "null",
        "  {} ",
        r#"{"CLIENT_ID":"x","Sample_Rate":1,"sample_rate":null}"#,
        r#"{"msg_timeout":999,"msg_timeout":1000}"#,
        r#"{"nested":{"msg_timeout":[1,2,{}]}}"#,
    ] {
        let mut client = target.client().await;
        client.send(&identify(body)).await;
        client.expect_response("OK").await;
    }
    for body in [
        "[]",
        "1",
        "{}{}",
        r#"{"client_id":1}"#,
        r#"{"msg_timeout":"1000"}"#,
        r#"{"msg_timeout":1000.0}"#,
        r#"{"msg_timeout":1e3}"#,
        r#"{"sample_rate":4294967296}"#,
        r#"{"tls_v1":1}"#,
    ] {
        let mut client = target.client().await;
        client.send(&identify(body)).await;
        let (kind, data) = client.frame().await;
        assert_eq!(
            (kind, data.as_slice()),
            (1, &b"E_BAD_BODY IDENTIFY failed to decode JSON body"[..]),
            "{body}"
        );
    }
}
