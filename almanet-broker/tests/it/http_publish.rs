//! Publishing over HTTP.

use std::time::{Duration, Instant};

use almanet_broker::BrokerConfig;
use tokio::io::AsyncWriteExt;

use crate::{
    http::{Answer, expect_message},
    support::{Target, sized, unique},
};

#[tokio::test]
async fn a_published_body_is_a_message() {
    let target = Target::start().await;
    let topic = unique("pub");
    target.post(&format!("/pub?topic={topic}"), b"a\nb", "OK").await;
    let mut consumer = target.subscriber(&topic, "c", 1).await;
    let message = consumer.message().await;
    assert_eq!((message.body.as_slice(), message.attempts), (&b"a\nb"[..], 1));
}

#[tokio::test]
async fn a_deferred_body_comes_after_its_delay() {
    let target = Target::start().await;
    let topic = unique("defer");
    let mut consumer = target.subscriber(&topic, "c", 1).await;
    consumer.expect_quiet().await;
    let before = Instant::now();
    target
        .post(&format!("/pub?topic={topic}&defer=300"), b"late", "OK")
        .await;
    assert_eq!(consumer.message().await.body, b"late");
    assert!(before.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn each_line_of_mpub_is_a_message() {
    let target = Target::start().await;
    let topic = unique("mpub");
    let mut consumer = target.subscriber(&topic, "c", 10).await;
    target
        .post(&format!("/mpub?topic={topic}"), b"a\n\nb b\nc", "OK")
        .await;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        bodies.push(consumer.message().await.body);
    }
    bodies.sort_unstable();
    assert_eq!(bodies, [b"a".to_vec(), b"b b".to_vec(), b"c".to_vec()]);
    consumer.expect_quiet().await;
}

#[tokio::test]
async fn a_binary_mpub_may_hold_line_breaks() {
    let target = Target::start().await;
    for binary in ["true", "1", "yes"] {
        let topic = unique("binary");
        let mut consumer = target.subscriber(&topic, "c", 10).await;
        let body = [&2_i32.to_be_bytes()[..], &sized(b"a\n"), &sized(b"b")].concat();
        target
            .post(&format!("/mpub?topic={topic}&binary={binary}"), &body, "OK")
            .await;
        let mut bodies = [consumer.message().await.body, consumer.message().await.body];
        bodies.sort_unstable();
        assert_eq!(bodies, [b"a\n".to_vec(), b"b".to_vec()]);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_publish_is_said_in_nsqds_words() {
    let target = Target::start().await;
    for (path, body, status, message) in [
        ("/pub", &b"x"[..], 400, "MISSING_ARG_TOPIC"),
        ("/pub?topic=a+b", b"x", 400, "INVALID_TOPIC"),
        ("/pub?topic=", b"x", 400, "INVALID_TOPIC"),
        ("/pub?topic=t%2", b"x", 400, "INVALID_REQUEST"),
        ("/pub?topic=t;x=1", b"x", 400, "INVALID_REQUEST"),
        ("/pub?topic=t", b"", 400, "MSG_EMPTY"),
        ("/pub", b"", 400, "MSG_EMPTY"),
        (
            "/pub?topic=refused%23ephemeral&defer=-1",
            b"x",
            400,
            "INVALID_DEFER",
        ),
        (
            "/pub?topic=refused%23ephemeral&defer=soon",
            b"x",
            400,
            "INVALID_DEFER",
        ),
        (
            "/pub?topic=refused%23ephemeral&defer=3600001",
            b"x",
            400,
            "INVALID_DEFER",
        ),
        ("/mpub", b"x", 400, "MISSING_ARG_TOPIC"),
        ("/mpub?topic=$", b"x", 400, "INVALID_TOPIC"),
        (
            "/mpub?topic=refused%23ephemeral&binary=true",
            b"abc",
            413,
            "BAD_BODY",
        ),
        (
            "/mpub?topic=refused%23ephemeral&binary=true",
            &[0; 4],
            413,
            "BAD_BODY",
        ),
        (
            "/mpub?topic=refused%23ephemeral&binary=true",
            &[0x7f; 4],
            413,
            "BAD_BODY",
        ),
        (
            "/mpub?topic=refused%23ephemeral&binary=true",
            &[0, 0, 0, 1, 0, 0, 0, 9, 1],
            413,
            "BAD_MESSAGE",
        ),
    ] {
        let answer = target.request("POST", path, body).await;
        assert_eq!(answer.status, status, "{path} {}", answer.body);
        expect_message(&answer, status, message);
    }
}

#[tokio::test]
async fn bodies_beyond_the_limits_are_refused() {
    let target = Target::start().await;
    let topic = unique("large");
    let message = vec![b'x'; 1024 * 1024 + 1];
    let most = &message[1..];
    target.post(&format!("/pub?topic={topic}"), most, "OK").await;
    target
        .expect_refusal(&format!("/mpub?topic={topic}"), &message, 413, "MSG_TOO_BIG")
        .await;
    // This refusal comes before the body is read.
    for (path, limit, expected) in [
        ("pub", 1024 * 1024, "MSG_TOO_BIG"),
        ("mpub", 5 * 1024 * 1024, "BODY_TOO_BIG"),
    ] {
        let mut stream = target.http_stream().await;
        let head = format!(
            "POST /{path}?topic={topic} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            limit + 1
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        expect_message(&Answer::read(&mut stream).await, 413, expected);
    }
}

#[tokio::test]
async fn a_body_that_does_not_say_its_length_is_limited_too() {
    let target = Target::embedded(BrokerConfig::default().max_message_size(100)).await;
    for (size, status, expected) in [(100, 200, "OK"), (101, 413, r#"{"message":"MSG_TOO_BIG"}"#)] {
        let mut stream = target.http_stream().await;
        let head = "POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = format!("{size:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(size));
        stream
            .write_all([head, &chunk].concat().as_bytes())
            .await
            .unwrap();
        let answer = Answer::read(&mut stream).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, expected));
    }
}

#[tokio::test]
async fn a_limit_of_the_broker_is_named() {
    let target = Target::embedded(BrokerConfig::default().max_channel_depth(1)).await;
    let topic = unique("full");
    let path = format!("/pub?topic={topic}");
    target.post(&path, b"1", "OK").await;
    let full = format!("topic {topic} has no channel and is full: max_channel_depth is 1 messages");
    target.expect_refusal(&path, b"2", 503, &full).await;
    target
        .expect_refusal(&format!("/mpub?topic={topic}"), b"2\n3", 503, &full)
        .await;
}
