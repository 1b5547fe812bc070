//! Metrics for Prometheus. Embedded only: nsqd has none.

use almanet_broker::BrokerConfig;

use crate::support::{Target, publish, unique};

/// The value of a series.
async fn value(target: &Target, series: &str) -> Option<u64> {
    let answer = target.get("/metrics").await;
    assert_eq!(answer.status, 200);
    let mut lines = answer.body.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn the_broker_its_topics_and_its_channels_have_metrics() {
    let target = Target::embedded(BrokerConfig::default()).await;
    let topic = "orders";
    let mut subscriber = target.subscriber(topic, "billing", 3).await;
    subscriber.expect_quiet().await;
    target.post("/mpub?topic=orders", b"aa\nbb\ncc\ndd", "OK").await;
    target.post("/pub?topic=orders&defer=60000", b"later", "OK").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(subscriber.message().await.id);
    }
    let answers = format!("RDY 0\nFIN {}\nREQ {} 60000\n", ids[0], ids[1]);
    subscriber.send(answers.as_bytes()).await;
    subscriber.expect_quiet().await;

    let answer = target.get("/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(answer.body.ends_with("# EOF\n"));
    // The topic `quiet` is where expect_quiet publishes.
    for (series, expected) in [
        ("published_messages_total", 7),
        ("published_bytes_total", 15),
        ("delivered_messages_total", 3),
        ("delivered_bytes_total", 6),
        ("finished_messages_total", 1),
        ("requeued_messages_total", 1),
        ("timed_out_messages_total", 0),
        ("waiting_messages", 3),
        ("deferred_messages", 2),
        ("in_flight_messages", 1),
        ("topics", 2),
        ("channels", 1),
        ("connections", 1),
        ("connections_accepted_total", 1),
        ("unlisted", 0),
        (r#"topic_published_messages_total{topic="orders"}"#, 5),
        (r#"topic_published_bytes_total{topic="orders"}"#, 13),
        (r#"topic_waiting_messages{topic="quiet"}"#, 2),
        (r#"topic_paused{topic="orders"}"#, 0),
        (r#"channel_messages_total{topic="orders",channel="billing"}"#, 5),
        (
            r#"channel_delivered_messages_total{topic="orders",channel="billing"}"#,
            3,
        ),
        (
            r#"channel_delivered_bytes_total{topic="orders",channel="billing"}"#,
            6,
        ),
        (
            r#"channel_finished_messages_total{topic="orders",channel="billing"}"#,
            1,
        ),
        (
            r#"channel_requeued_messages_total{topic="orders",channel="billing"}"#,
            1,
        ),
        (
            r#"channel_timed_out_messages_total{topic="orders",channel="billing"}"#,
            0,
        ),
        (r#"channel_waiting_messages{topic="orders",channel="billing"}"#, 1),
        (
            r#"channel_deferred_messages{topic="orders",channel="billing"}"#,
            2,
        ),
        (
            r#"channel_in_flight_messages{topic="orders",channel="billing"}"#,
            1,
        ),
        (r#"channel_subscribers{topic="orders",channel="billing"}"#, 1),
        (r#"channel_paused{topic="orders",channel="billing"}"#, 0),
    ] {
        let series = format!("almanet_broker_{series}");
        assert_eq!(value(&target, &series).await, Some(expected), "{series}");
    }
    assert!(value(&target, "almanet_broker_memory_bytes").await > Some(5 * 96));
}

#[tokio::test]
async fn what_is_gone_stays_in_the_totals() {
    let target = Target::embedded(BrokerConfig::default()).await;
    target.post("/pub?topic=short", b"xyz", "OK").await;
    let mut subscriber = target.subscriber("short", "c", 1).await;
    let id = subscriber.message().await.id;
    subscriber.send(format!("FIN {id}\n").as_bytes()).await;
    subscriber.expect_quiet().await;
    target.post("/topic/delete?topic=short", b"", "").await;
    assert_eq!(
        value(&target, "almanet_broker_published_bytes_total").await,
        Some(4)
    );
    assert_eq!(
        value(&target, "almanet_broker_finished_messages_total").await,
        Some(1)
    );
    let gone = r#"almanet_broker_topic_published_messages_total{topic="short"}"#;
    assert_eq!(value(&target, gone).await, None);
}

#[tokio::test]
async fn refusals_are_counted_by_limit() {
    let config = BrokerConfig::default()
        .max_channel_depth(1)
        .max_memory(5000)
        .max_connections(1);
    let target = Target::embedded(config).await;
    let topic = unique("full");
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"1").await;
    let mut refused = target.silent_client().await;
    refused
        .expect_fatal("E_TOO_MANY_CONNECTIONS the broker has 1 connections, its limit")
        .await;
    publisher.send(&publish(&topic, b"2")).await;
    assert_eq!(publisher.frame().await.0, 1);
    let large = vec![b'x'; 5000];
    let path = format!("/pub?topic={}", unique("large"));
    let answer = target.request("POST", &path, &large).await;
    assert_eq!(answer.status, 503);
    for limit in ["max_channel_depth", "max_memory", "max_connections"] {
        let series = format!(r#"almanet_broker_refusals_total{{limit="{limit}"}}"#);
        assert_eq!(value(&target, &series).await, Some(1), "{limit}");
    }
}

#[tokio::test]
async fn ephemeral_names_and_what_is_beyond_the_bound_have_no_series() {
    let target = Target::embedded(BrokerConfig::default()).await;
    let mut reader = target.subscriber("reply#ephemeral", "c#ephemeral", 1).await;
    reader.expect_quiet().await;
    let mut publisher = target.client().await;
    for number in 0..1001 {
        publisher
            .send(&publish(&format!("topic_{number:04}"), b"x"))
            .await;
    }
    for _ in 0..1001 {
        publisher.expect_response("OK").await;
    }
    let body = target.get("/metrics").await.body;
    assert!(!body.contains("#ephemeral"));
    assert_eq!(body.matches("topic_paused{").count(), 1000);
    // The ephemeral topic and its channel, and two topics too many: there is also the one of expect_quiet.
    assert_eq!(value(&target, "almanet_broker_unlisted").await, Some(4));
    assert_eq!(value(&target, "almanet_broker_topics").await, Some(1003));
    assert_eq!(
        value(&target, "almanet_broker_published_messages_total").await,
        Some(1002)
    );
}
