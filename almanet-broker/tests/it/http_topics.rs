//! What operators do to topics.

use serde_json::Value;

use crate::support::{Target, unique};

#[tokio::test]
async fn a_topic_is_created_and_deleted() {
    let target = Target::start().await;
    let topic = unique("created");
    target
        .post(&format!("/topic/create?topic={topic}"), b"", "")
        .await;
    assert_eq!(target.topic_stats(&topic).await["topic_name"], topic);
    target
        .post(&format!("/topic/create?topic={topic}"), b"", "")
        .await;
    target
        .post(&format!("/topic/delete?topic={topic}"), b"", "")
        .await;
    assert_eq!(target.topic_stats(&topic).await, Value::Null);
}

#[tokio::test]
async fn deleting_a_topic_ends_its_subscribers_and_its_messages() {
    let target = Target::start().await;
    let topic = unique("deleted");
    let mut one = target.subscriber(&topic, "a", 0).await;
    let mut other = target.subscriber(&topic, "b", 0).await;
    one.expect_quiet().await;
    other.expect_quiet().await;
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"gone").await;
    target
        .post(&format!("/topic/delete?topic={topic}"), b"", "")
        .await;
    one.expect_close().await;
    other.expect_close().await;

    // The name is free for a new topic, for publishers that knew the old one too.
    publisher.publish(&topic, b"new").await;
    let mut consumer = target.subscriber(&topic, "a", 1).await;
    assert_eq!(consumer.message().await.body, b"new");
    assert_eq!(target.topic_stats(&topic).await["message_count"], 1);
}

#[tokio::test]
async fn a_paused_topic_keeps_its_messages_and_gives_them_to_all_channels() {
    let target = Target::start().await;
    let topic = unique("paused");
    let mut one = target.subscriber(&topic, "a", 10).await;
    let mut other = target.subscriber(&topic, "b", 10).await;
    one.expect_quiet().await;
    other.expect_quiet().await;
    target.post(&format!("/topic/pause?topic={topic}"), b"", "").await;
    target.post(&format!("/pub?topic={topic}"), b"waits", "OK").await;
    one.expect_quiet().await;
    let stats = target.topic_stats(&topic).await;
    assert_eq!((&stats["paused"], &stats["depth"]), (&true.into(), &1.into()));

    target
        .post(&format!("/topic/unpause?topic={topic}"), b"", "")
        .await;
    assert_eq!(one.message().await.body, b"waits");
    assert_eq!(other.message().await.body, b"waits");
    let stats = target.topic_stats(&topic).await;
    assert_eq!((&stats["paused"], &stats["depth"]), (&false.into(), &0.into()));
}

#[tokio::test]
async fn emptying_a_topic_forgets_what_no_channel_has() {
    let target = Target::start().await;
    let topic = unique("emptied");
    target.post(&format!("/pub?topic={topic}"), b"gone", "OK").await;
    target.post(&format!("/topic/empty?topic={topic}"), b"", "").await;
    assert_eq!(target.topic_stats(&topic).await["depth"], 0);
    let mut consumer = target.subscriber(&topic, "c", 1).await;
    target.post(&format!("/pub?topic={topic}"), b"new", "OK").await;
    assert_eq!(consumer.message().await.body, b"new");
}

#[tokio::test]
async fn what_is_wrong_is_said_in_nsqds_words() {
    let target = Target::start().await;
    for action in ["create", "delete", "empty", "pause", "unpause"] {
        let path = format!("/topic/{action}");
        target.expect_refusal(&path, b"", 400, "MISSING_ARG_TOPIC").await;
        target
            .expect_refusal(&format!("{path}?topic=%"), b"", 400, "INVALID_REQUEST")
            .await;
        if action != "create" {
            let unknown = format!("{path}?topic={}", unique("unknown"));
            target.expect_refusal(&unknown, b"", 404, "TOPIC_NOT_FOUND").await;
        }
    }
    for action in ["create", "empty"] {
        let path = format!("/topic/{action}?topic=no+name");
        target.expect_refusal(&path, b"", 400, "INVALID_TOPIC").await;
    }
    for action in ["delete", "pause", "unpause"] {
        let path = format!("/topic/{action}?topic=no+name");
        target.expect_refusal(&path, b"", 404, "TOPIC_NOT_FOUND").await;
    }
}
