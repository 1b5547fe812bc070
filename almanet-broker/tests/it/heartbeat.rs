//! Heartbeats, and clients that fall silent.

use std::time::{Duration, Instant};

use almanet_broker::BrokerConfig;

use crate::support::{Target, identify};

#[tokio::test]
async fn heartbeats_come_at_the_interval_that_was_asked_for() {
    let target = Target::start().await;
    let mut client = target.client().await;
    client.send(&identify(r#"{"heartbeat_interval":1000}"#)).await;
    client.expect_response("OK").await;
    let start = Instant::now();
    for beat in 1..=3 {
        client.expect_response("_heartbeat_").await;
        let since = start.elapsed().as_millis();
        assert!(since + 150 >= beat * 1000, "beat {beat} came after {since} ms");
        client.send(b"NOP\n").await;
    }
}

#[tokio::test]
async fn a_client_that_is_silent_for_two_intervals_is_closed() {
    let target = Target::start().await;
    let mut client = target.client().await;
    client.send(&identify(r#"{"heartbeat_interval":1000}"#)).await;
    client.expect_response("OK").await;
    let start = Instant::now();
    client.expect_response("_heartbeat_").await;
    while client.ends_or_beats().await {}
    let since = start.elapsed();
    assert!(since >= Duration::from_millis(1900), "{since:?}");
}

#[tokio::test]
async fn half_a_command_is_no_sign_of_life() {
    let config = BrokerConfig::default().heartbeat_interval(Duration::from_millis(100));
    let target = Target::embedded(config).await;
    let mut client = target.client().await;
    let start = Instant::now();
    // Each beat is answered with one more byte of a line that never ends.
    while client.ends_or_beats().await {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, b"N").await;
    }
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_client_that_never_says_which_protocol_it_speaks_is_closed() {
    let config = BrokerConfig::default().heartbeat_interval(Duration::from_millis(50));
    let target = Target::embedded(config).await;
    let mut client = target.silent_client().await;
    client.send(b"  V").await;
    client.expect_close().await;
}

#[tokio::test]
async fn a_client_without_heartbeats_is_kept() {
    let config = BrokerConfig::default().heartbeat_interval(Duration::from_millis(50));
    let target = Target::embedded(config).await;
    let mut quiet = target.client().await;
    quiet.send(&identify(r#"{"heartbeat_interval":-1}"#)).await;
    quiet.expect_response("OK").await;
    let mut watched = target.client().await;
    while watched.ends_or_beats().await {}
    quiet.expect_quiet().await;
}
