//! Statistics, as nsqadmin and nsq_stat read them.

use serde_json::{Value, json};

use crate::support::{Client, Target, eventually, identify, unique};

const NODE: &[&str] = &["health", "memory", "producers", "start_time", "topics", "version"];
const MEMORY: &[&str] = &[
    "gc_pause_usec_100",
    "gc_pause_usec_95",
    "gc_pause_usec_99",
    "gc_total_runs",
    "heap_idle_bytes",
    "heap_in_use_bytes",
    "heap_objects",
    "heap_released_bytes",
    "next_gc_bytes",
];
const TOPIC: &[&str] = &[
    "backend_depth",
    "channels",
    "depth",
    "e2e_processing_latency",
    "message_bytes",
    "message_count",
    "paused",
    "topic_name",
];
const CHANNEL: &[&str] = &[
    "backend_depth",
    "channel_name",
    "client_count",
    "clients",
    "deferred_count",
    "depth",
    "e2e_processing_latency",
    "in_flight_count",
    "message_count",
    "paused",
    "requeue_count",
    "timeout_count",
];
const CLIENT: &[&str] = &[
    "client_id",
    "connect_ts",
    "deflate",
    "finish_count",
    "hostname",
    "in_flight_count",
    "message_count",
    "ready_count",
    "remote_address",
    "requeue_count",
    "sample_rate",
    "snappy",
    "state",
    "tls",
    "tls_cipher_suite",
    "tls_negotiated_protocol",
    "tls_negotiated_protocol_is_mutual",
    "tls_version",
    "user_agent",
    "version",
];

fn fields(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    let mut fields: Vec<_> = object.keys().map(String::as_str).collect();
    fields.sort_unstable();
    fields
}

/// A consumer that has called itself `name`.
async fn consumer(target: &Target, topic: &str, name: &str) -> Client {
    let mut client = target.client().await;
    let description = format!(
        r#"{{"client_id":"{name}","hostname":"{name}.example","user_agent":"test/1","sample_rate":99}}"#
    );
    client.send(&identify(&description)).await;
    client.expect_response("OK").await;
    client.send(format!("SUB {topic} c\n").as_bytes()).await;
    client.expect_response("OK").await;
    client
}

#[tokio::test]
async fn the_fields_are_nsqds() {
    let target = Target::start().await;
    let topic = unique("fields");
    let _subscriber = consumer(&target, &topic, "consumer").await;
    let mut producer = target.client().await;
    producer.publish(&topic, b"x").await;

    let stats = target.get("/stats?format=json").await;
    assert_eq!(
        stats.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let stats = stats.json();
    assert_eq!(fields(&stats), NODE);
    assert_eq!(fields(&stats["memory"]), MEMORY);
    assert_eq!(stats["health"], "OK");
    let topic = target.topic_stats(&topic).await;
    assert_eq!(fields(&topic), TOPIC);
    assert_eq!(fields(&topic["channels"][0]), CHANNEL);
    assert_eq!(fields(&topic["channels"][0]["clients"][0]), CLIENT);
    let nothing = json!({ "count": 0, "percentiles": null });
    assert_eq!(topic["e2e_processing_latency"], nothing);
    assert_eq!(topic["channels"][0]["e2e_processing_latency"], nothing);

    let mut producer_fields = CLIENT.to_vec();
    producer_fields.push("pub_counts");
    producer_fields.sort_unstable();
    assert_eq!(fields(&stats["producers"][0]), producer_fields);
    assert_eq!(
        fields(&stats["producers"][0]["pub_counts"][0]),
        ["count", "topic"]
    );
}

#[tokio::test]
async fn the_numbers_tell_what_has_happened() {
    let target = Target::start().await;
    let topic = unique("numbers");
    let mut subscriber = consumer(&target, &topic, "worker").await;
    for body in [&b"a"[..], b"bb", b"ccc", b"dddd"] {
        target.post(&format!("/pub?topic={topic}"), body, "OK").await;
    }
    target
        .post(&format!("/pub?topic={topic}&defer=60000"), b"later", "OK")
        .await;
    subscriber.send(b"RDY 3\n").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(subscriber.message().await.id);
    }
    let answers = format!("RDY 1\nFIN {}\nREQ {} 60000\n", ids[0], ids[1]);
    subscriber.send(answers.as_bytes()).await;
    subscriber.expect_quiet().await;

    let stats = target.topic_stats(&topic).await;
    assert_eq!(
        (&stats["message_count"], &stats["message_bytes"]),
        (&json!(5), &json!(15))
    );
    let channel = &stats["channels"][0];
    for (field, expected) in [
        ("channel_name", json!("c")),
        ("message_count", json!(5)),
        ("depth", json!(1)),
        ("deferred_count", json!(2)),
        ("in_flight_count", json!(1)),
        ("requeue_count", json!(1)),
        ("timeout_count", json!(0)),
        ("client_count", json!(1)),
        ("paused", json!(false)),
    ] {
        assert_eq!(channel[field], expected, "{field}");
    }
    let client = &channel["clients"][0];
    let address = subscriber.stream.local_addr().unwrap().to_string();
    for (field, expected) in [
        ("client_id", json!("worker")),
        ("hostname", json!("worker.example")),
        ("user_agent", json!("test/1")),
        ("remote_address", json!(address)),
        ("version", json!("V2")),
        ("state", json!(3)),
        ("ready_count", json!(1)),
        ("in_flight_count", json!(1)),
        ("message_count", json!(3)),
        ("finish_count", json!(1)),
        ("requeue_count", json!(1)),
        ("sample_rate", json!(99)),
    ] {
        assert_eq!(client[field], expected, "{field}");
    }
    assert!(client["connect_ts"].as_i64().unwrap() > 1_600_000_000);
}

#[tokio::test]
async fn a_message_that_is_not_answered_in_time_is_counted() {
    let target = Target::start().await;
    let topic = unique("timeout");
    let mut subscriber = target.client().await;
    subscriber.send(&identify(r#"{"msg_timeout":1000}"#)).await;
    subscriber.expect_response("OK").await;
    subscriber
        .send(format!("SUB {topic} c\nRDY 1\n").as_bytes())
        .await;
    subscriber.expect_response("OK").await;
    target.post(&format!("/pub?topic={topic}"), b"x", "OK").await;
    assert_eq!(subscriber.message().await.attempts, 1);
    assert_eq!(subscriber.message().await.attempts, 2);
    assert_eq!(
        target.topic_stats(&topic).await["channels"][0]["timeout_count"],
        1
    );
}

#[tokio::test]
async fn producers_are_listed_with_what_they_published() {
    let target = Target::start().await;
    let (one, other) = (unique("one"), unique("other"));
    let mut producer = target.client().await;
    for topic in [&one, &other, &other] {
        producer.publish(topic, b"x").await;
    }
    let address = producer.stream.local_addr().unwrap().to_string();
    let stats = target
        .get(&format!("/stats?format=json&topic={other}"))
        .await
        .json();
    let producers = stats["producers"].as_array().unwrap();
    let listed = producers
        .iter()
        .find(|client| client["remote_address"] == address)
        .unwrap();
    assert_eq!(listed["pub_counts"], json!([{ "topic": other, "count": 2 }]));
    assert_eq!(listed["client_id"], "127.0.0.1");

    drop(producer);
    let path = format!("/stats?format=json&topic={one}");
    eventually(async || !target.get(&path).await.body.contains(&address)).await;
}

#[tokio::test]
async fn a_selection_leaves_the_rest_out() {
    let target = Target::start().await;
    let topic = unique("selected");
    target
        .post(&format!("/topic/create?topic={topic}"), b"", "")
        .await;
    for channel in ["a", "b"] {
        let path = format!("/channel/create?topic={topic}&channel={channel}");
        target.post(&path, b"", "").await;
    }
    let get = async |query: &str| {
        let answer = target.get(&format!("/stats?format=json&{query}")).await;
        assert_eq!(answer.status, 200);
        answer.json()
    };
    let of_topic = get(&format!("topic={topic}")).await;
    assert_eq!(of_topic["topics"].as_array().unwrap().len(), 1);
    let names: Vec<_> = of_topic["topics"][0]["channels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|channel| &channel["channel_name"])
        .collect();
    assert_eq!(names, ["a", "b"]);
    let of_channel = get(&format!("topic={topic}&channel=b")).await;
    assert_eq!(of_channel["topics"][0]["channels"].as_array().unwrap().len(), 1);
    assert_eq!(
        get(&format!("topic={topic}&channel=x")).await["topics"],
        json!([])
    );
    assert_eq!(
        get(&format!("topic={}", unique("unknown"))).await["topics"],
        Value::Null
    );
    let everything = get("").await;
    let listed = everything["topics"].as_array().unwrap();
    assert!(listed.iter().any(|listed| listed["topic_name"] == topic));

    for no in ["0", "false"] {
        let lean = get(&format!("topic={topic}&include_clients={no}&include_mem={no}")).await;
        assert!(lean.get("memory").is_none());
        assert_eq!(lean["producers"], Value::Null);
        assert_eq!(lean["topics"][0]["channels"][0]["clients"], Value::Null);
        assert_eq!(lean["topics"][0]["channels"][0]["client_count"], 0);
    }
    let full = get(&format!("topic={topic}&include_clients=x")).await;
    assert_eq!(full["topics"][0]["channels"][0]["clients"], json!([]));
    let refused = target.get("/stats?format=%").await;
    assert_eq!(
        (refused.status, refused.json()),
        (400, json!({ "message": "INVALID_REQUEST" }))
    );
}

#[tokio::test]
async fn without_a_format_the_statistics_are_text() {
    let target = Target::start().await;
    let topic = unique("text");
    let mut subscriber = consumer(&target, &topic, "reader").await;
    subscriber.expect_quiet().await;
    target.post(&format!("/pub?topic={topic}"), b"x", "OK").await;
    target
        .post(&format!("/channel/pause?topic={topic}&channel=c"), b"", "")
        .await;
    let answer = target.get(&format!("/stats?topic={topic}")).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let text = answer.body;
    for line in [
        "\nHealth: OK\n",
        "\nMemory:\n",
        &format!("\n   [{topic:<15}] depth: 0     be-depth: 0     msgs: 1        e2e%: \n"),
        "\n   *P [c                        ] depth: 1     be-depth: 0     inflt: 0    def: 0    re-q: 0     timeout: 0     \
         msgs: 1        e2e%: \n",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    let none = target
        .get(&format!("/stats?include_mem=false&topic={}", unique("x")))
        .await
        .body;
    assert!(none.contains("\nTopics: None\n\nProducers: None\n"), "{none}");
    assert!(!none.contains("Memory"), "{none}");
}
