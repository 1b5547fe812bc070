//! What operators do to channels.

use crate::support::{Target, eventually, unique};

async fn act(target: &Target, action: &str, topic: &str, channel: &str) {
    let path = format!("/channel/{action}?topic={topic}&channel={channel}").replace('#', "%23");
    target.post(&path, b"", "").await;
}

#[tokio::test]
async fn a_channel_that_is_created_gets_messages_before_it_has_a_subscriber() {
    let target = Target::start().await;
    let topic = unique("created");
    target
        .post(&format!("/topic/create?topic={topic}"), b"", "")
        .await;
    for channel in ["a", "b"] {
        act(&target, "create", &topic, channel).await;
    }
    target.post(&format!("/pub?topic={topic}"), b"x", "OK").await;
    for channel in ["a", "b"] {
        let mut consumer = target.subscriber(&topic, channel, 1).await;
        assert_eq!(consumer.message().await.body, b"x");
    }
}

#[tokio::test]
async fn deleting_a_channel_ends_its_subscribers_and_no_others() {
    let target = Target::start().await;
    let topic = unique("deleted");
    let mut gone = target.subscriber(&topic, "gone", 0).await;
    let mut stays = target.subscriber(&topic, "stays", 1).await;
    gone.expect_quiet().await;
    stays.expect_quiet().await;
    act(&target, "delete", &topic, "gone").await;
    gone.expect_close().await;
    target.post(&format!("/pub?topic={topic}"), b"x", "OK").await;
    assert_eq!(stays.message().await.body, b"x");
    let stats = target.topic_stats(&topic).await;
    let channels = stats["channels"].as_array().unwrap();
    assert_eq!(channels.len(), 1);
    assert_eq!(channels[0]["channel_name"], "stays");
}

#[tokio::test]
async fn an_ephemeral_topic_is_deleted_with_its_last_channel() {
    let target = Target::start().await;
    let topic = format!("{}#ephemeral", unique("last"));
    let mut subscriber = target.subscriber(&topic, "c", 0).await;
    subscriber.expect_quiet().await;
    assert_eq!(target.topic_stats(&topic).await["topic_name"], topic);
    act(&target, "delete", &topic, "c").await;
    subscriber.expect_close().await;
    // nsqd deletes the topic in the background.
    eventually(async || target.topic_stats(&topic).await.is_null()).await;
}

#[tokio::test]
async fn a_paused_channel_keeps_its_messages_until_it_is_unpaused() {
    let target = Target::start().await;
    let topic = unique("paused");
    let mut consumer = target.subscriber(&topic, "c", 10).await;
    let mut other = target.subscriber(&topic, "other", 10).await;
    consumer.expect_quiet().await;
    other.expect_quiet().await;
    act(&target, "pause", &topic, "c").await;
    target.post(&format!("/pub?topic={topic}"), b"x", "OK").await;
    assert_eq!(other.message().await.body, b"x");
    consumer.expect_quiet().await;
    let stats = target.topic_stats(&topic).await;
    assert_eq!(stats["channels"][0]["paused"], true);
    assert_eq!(stats["channels"][0]["depth"], 1);
    assert_eq!(stats["channels"][1]["paused"], false);

    act(&target, "unpause", &topic, "c").await;
    assert_eq!(consumer.message().await.body, b"x");
    assert_eq!(target.topic_stats(&topic).await["channels"][0]["paused"], false);
}

#[tokio::test]
async fn emptying_a_channel_forgets_what_waits_and_what_is_in_flight() {
    let target = Target::start().await;
    let topic = unique("emptied");
    let mut consumer = target.subscriber(&topic, "c", 1).await;
    consumer.expect_quiet().await;
    target
        .post(&format!("/mpub?topic={topic}"), b"1\n2\n3", "OK")
        .await;
    target
        .post(&format!("/pub?topic={topic}&defer=60000"), b"4", "OK")
        .await;
    let id = consumer.message().await.id;
    act(&target, "empty", &topic, "c").await;
    consumer.send(format!("FIN {id}\n").as_bytes()).await;
    consumer
        .expect_error(&format!("E_FIN_FAILED FIN {id} failed ID not in flight"))
        .await;
    let channel = &target.topic_stats(&topic).await["channels"][0];
    for count in ["depth", "in_flight_count", "deferred_count"] {
        assert_eq!(channel[count], 0, "{count}");
    }
    target.post(&format!("/pub?topic={topic}"), b"new", "OK").await;
    assert_eq!(consumer.message().await.body, b"new");
}

#[tokio::test]
async fn what_is_wrong_is_said_in_nsqds_words() {
    let target = Target::start().await;
    let topic = unique("known");
    target
        .post(&format!("/topic/create?topic={topic}"), b"", "")
        .await;
    for action in ["create", "delete", "empty", "pause", "unpause"] {
        for (query, status, message) in [
            ("".to_owned(), 400, "MISSING_ARG_TOPIC"),
            ("topic=%2&channel=c".to_owned(), 400, "INVALID_REQUEST"),
            ("topic=$&channel=c".to_owned(), 400, "INVALID_ARG_TOPIC"),
            (format!("topic={topic}"), 400, "MISSING_ARG_CHANNEL"),
            (format!("topic={topic}&channel=$"), 400, "INVALID_ARG_CHANNEL"),
            (
                format!("topic={}&channel=c", unique("unknown")),
                404,
                "TOPIC_NOT_FOUND",
            ),
        ] {
            let path = format!("/channel/{action}?{query}");
            target.expect_refusal(&path, b"", status, message).await;
        }
        if action != "create" {
            let path = format!("/channel/{action}?topic={topic}&channel=unknown");
            target.expect_refusal(&path, b"", 404, "CHANNEL_NOT_FOUND").await;
        }
    }
}
