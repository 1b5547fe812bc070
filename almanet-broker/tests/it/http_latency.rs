//! Percentiles of processing latency, as nsqd shows them.

use std::time::{Duration, Instant};

use almanet_broker::{BrokerConfig, Percentile};
use serde_json::{Value, json};

use crate::support::{Client, Target, eventually, publish_deferred};

/// Nanoseconds.
const DELAY: f64 = 50e6;

fn measuring() -> BrokerConfig {
    [0.5, 1.0, 0.99]
        .map(|share| Percentile::new(share).unwrap())
        .into_iter()
        .fold(
            BrokerConfig::default(),
            BrokerConfig::processing_latency_percentile,
        )
}

async fn finish_one(client: &mut Client) {
    let message = client.message().await;
    client.send(format!("FIN {}\n", message.id).as_bytes()).await;
    client.expect_quiet().await;
}

fn values(latency: &Value) -> Vec<f64> {
    let percentiles = latency["percentiles"].as_array().unwrap();
    let shares: Vec<_> = percentiles.iter().map(|one| one["quantile"].clone()).collect();
    assert_eq!(shares, [json!(1.0), json!(0.99), json!(0.5)]);
    percentiles
        .iter()
        .map(|one| one["value"].as_f64().unwrap())
        .collect()
}

#[tokio::test]
async fn latency_is_from_publication_to_fin() {
    let target = Target::embedded(measuring()).await;
    let mut one = target.subscriber("t", "one", 1).await;
    let mut other = target.subscriber("t", "other", 1).await;

    let before = target.topic_stats("t").await;
    for latency in [
        &before["e2e_processing_latency"],
        &before["channels"][0]["e2e_processing_latency"],
    ] {
        assert_eq!(latency["count"], 0);
        assert_eq!(values(latency), [0.0; 3]);
    }

    let begun = Instant::now();
    let mut publisher = target.client().await;
    publisher.send(&publish_deferred("t", 50, b"x")).await;
    publisher.expect_response("OK").await;
    // What is not finished does not count, and what is delivered again counts from its publication.
    let message = one.message().await;
    one.send(format!("REQ {} 0\n", message.id).as_bytes()).await;
    finish_one(&mut one).await;
    let longest = begun.elapsed().as_nanos() as f64;
    let message = other.message().await;

    let stats = target.topic_stats("t").await;
    let channel = |stats: &Value, at: usize| stats["channels"][at]["e2e_processing_latency"].clone();
    assert_eq!(channel(&stats, 0)["count"], 1);
    assert_eq!(channel(&stats, 1)["count"], 0);
    assert_eq!(stats["e2e_processing_latency"]["count"], 1);
    for value in values(&channel(&stats, 0)) {
        assert!(
            (DELAY * 0.99..=longest * 1.01).contains(&value),
            "{value} ns of {longest} ns"
        );
    }

    other.send(format!("FIN {}\n", message.id).as_bytes()).await;
    other.expect_quiet().await;
    // The topic's are those of all channels, even where one channel is asked for.
    let stats = target
        .get("/stats?format=json&topic=t&channel=other")
        .await
        .json();
    let topic = &stats["topics"][0];
    assert_eq!(topic["channels"].as_array().unwrap().len(), 1);
    assert_eq!(channel(topic, 0)["count"], 1);
    assert_eq!(topic["e2e_processing_latency"]["count"], 2);
    assert!(values(&topic["e2e_processing_latency"])[2] >= DELAY * 0.99);
}

#[tokio::test]
async fn the_text_shows_the_values() {
    let target = Target::embedded(measuring()).await;
    let mut client = target.subscriber("t", "c", 1).await;
    let mut publisher = target.client().await;
    publisher.send(&publish_deferred("t", 50, b"x")).await;
    publisher.expect_response("OK").await;
    finish_one(&mut client).await;
    let text = target.get("/stats").await.body;
    let shown: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once("e2e%: "))
        .collect();
    // The topic, its channel, and the topic with which the client was asked whether it is quiet.
    let [_, (_, topic), (_, channel)] = shown[..] else {
        panic!("{text}");
    };
    assert_eq!(topic, channel);
    let values: Vec<_> = topic.split(", ").collect();
    assert_eq!(values.len(), 3, "{topic}");
    for value in values {
        assert!(value.ends_with('s') && value.contains('.'), "{topic}");
    }
}

#[tokio::test]
async fn what_is_older_than_the_window_does_not_count() {
    let config = measuring().processing_latency_window(Duration::from_millis(1));
    let target = Target::embedded(config).await;
    let mut client = target.subscriber("t", "c", 1).await;
    target.client().await.publish("t", b"x").await;
    finish_one(&mut client).await;
    eventually(async || {
        let stats = target.topic_stats("t").await;
        let latency = &stats["channels"][0]["e2e_processing_latency"];
        latency["count"] == 0 && values(latency) == [0.0; 3]
    })
    .await;
}

#[tokio::test]
async fn a_topic_without_channels_has_none() {
    let target = Target::embedded(measuring()).await;
    target.client().await.publish("t", b"x").await;
    let nothing = json!({ "count": 0, "percentiles": null });
    assert_eq!(target.topic_stats("t").await["e2e_processing_latency"], nothing);
}
