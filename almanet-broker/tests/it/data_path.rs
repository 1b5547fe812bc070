//! What outlives a clean stop. Embedded only: nsqd's files are not these.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use almanet_broker::{Broker, BrokerConfig, StartError};
use tempfile::TempDir;

use crate::support::{Client, Target, publish_deferred};

pub(crate) const STATE: &str = "almanet-broker.state";

pub(crate) fn config(directory: &TempDir) -> BrokerConfig {
    BrokerConfig::default().data_path(directory.path())
}

pub(crate) async fn start(directory: &TempDir) -> Target {
    Target::embedded(config(directory)).await
}

/// Makes a channel by a subscriber that wants nothing, and leaves it.
async fn create_channel(target: &Target, topic: &str, channel: &str) {
    let mut client = target.subscriber(topic, channel, 0).await;
    client.expect_quiet().await;
}

pub(crate) async fn finish(client: &mut Client, id: &str) {
    client.send(format!("FIN {id}\n").as_bytes()).await;
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_waits_in_each_channel_comes_back_as_it_was() {
    let directory = TempDir::new().unwrap();
    let target = start(&directory).await;
    for channel in ["mail", "audit"] {
        create_channel(&target, "orders", channel).await;
    }
    let mut publisher = target.client().await;
    for body in ["1", "2", "3"] {
        publisher.publish("orders", body.as_bytes()).await;
    }
    // One is finished, one requeued, one in flight when the broker stops.
    let mut mail = target.subscriber("orders", "mail", 3).await;
    let (first, second, third) = (mail.message().await, mail.message().await, mail.message().await);
    finish(&mut mail, &first.id).await;
    mail.send(format!("RDY 0\nREQ {} 0\n", second.id).as_bytes())
        .await;
    mail.expect_quiet().await;
    target.stop().await;

    let target = start(&directory).await;
    let mut mail = target.subscriber("orders", "mail", 10).await;
    let mut again = [mail.message().await, mail.message().await];
    again.sort_by(|one, other| one.body.cmp(&other.body));
    for (before, after) in [second, third].iter().zip(&again) {
        assert_eq!(after.attempts, 2);
        assert_eq!(
            (&after.id, after.timestamp, &after.body),
            (&before.id, before.timestamp, &before.body)
        );
    }
    mail.expect_quiet().await;

    let mut audit = target.subscriber("orders", "audit", 10).await;
    for body in ["1", "2", "3"] {
        let message = audit.message().await;
        assert_eq!((message.body.as_slice(), message.attempts), (body.as_bytes(), 1));
    }
    audit.expect_quiet().await;
    target.stop().await;
}

#[tokio::test]
async fn a_stop_is_no_attempt_at_other_subscribers() {
    let directory = TempDir::new().unwrap();
    let target = start(&directory).await;
    let mut subscribers = Vec::new();
    for _ in 0..20 {
        let mut subscriber = target.subscriber("jobs", "workers", 1).await;
        subscriber.expect_quiet().await;
        subscribers.push(subscriber);
    }
    let mut publisher = target.client().await;
    publisher.publish("jobs", b"work").await;
    target.stop().await;

    let target = start(&directory).await;
    let mut worker = target.subscriber("jobs", "workers", 1).await;
    assert_eq!(worker.message().await.attempts, 2);
    target.stop().await;
}

#[tokio::test]
async fn a_topic_without_a_channel_keeps_its_messages_for_the_first_one() {
    let directory = TempDir::new().unwrap();
    let target = start(&directory).await;
    let mut publisher = target.client().await;
    publisher.publish("early", b"bird").await;
    target.stop().await;
    // And once more, so that what was restored is saved again.
    start(&directory).await.stop().await;

    let target = start(&directory).await;
    let mut subscriber = target.subscriber("early", "c", 1).await;
    assert_eq!(subscriber.message().await.body, b"bird");
    target.stop().await;
}

#[tokio::test]
async fn a_channel_that_is_empty_comes_back_and_gets_what_is_published_before_it_has_subscribers() {
    let directory = TempDir::new().unwrap();
    let target = start(&directory).await;
    create_channel(&target, "t", "one").await;
    create_channel(&target, "t", "two").await;
    target.stop().await;

    let target = start(&directory).await;
    let mut publisher = target.client().await;
    publisher.publish("t", b"x").await;
    for channel in ["one", "two"] {
        let mut subscriber = target.subscriber("t", channel, 1).await;
        assert_eq!(subscriber.message().await.body, b"x", "{channel}");
    }
    target.stop().await;
}

#[tokio::test]
async fn a_deferred_message_comes_when_it_would_have_come() {
    let directory = TempDir::new().unwrap();
    let target = start(&directory).await;
    create_channel(&target, "later", "c").await;
    let published = Instant::now();
    let mut publisher = target.client().await;
    publisher.send(&publish_deferred("later", 1500, b"due")).await;
    publisher.expect_response("OK").await;
    publisher
        .send(&publish_deferred("later", 600_000, b"not due"))
        .await;
    publisher.expect_response("OK").await;
    target.stop().await;

    let target = start(&directory).await;
    let mut subscriber = target.subscriber("later", "c", 10).await;
    assert_eq!(subscriber.message().await.body, b"due");
    let after = published.elapsed();
    // The restart takes some time off by the wall clock, which may tick differently.
    assert!(after >= Duration::from_millis(1450), "it came after {after:?}");
    subscriber.expect_quiet().await;
    target.stop().await;
}

#[tokio::test]
async fn what_is_ephemeral_does_not_come_back() {
    let directory = TempDir::new().unwrap();
    let target = start(&directory).await;
    let mut publisher = target.client().await;
    publisher.publish("gone#ephemeral", b"x").await;
    let mut reader = target.subscriber("stays", "c#ephemeral", 0).await;
    reader.expect_quiet().await;
    publisher.publish("stays", b"dropped with its channel").await;
    target.stop().await;

    let target = start(&directory).await;
    for topic in ["gone#ephemeral", "stays"] {
        let mut subscriber = target.subscriber(topic, "c", 10).await;
        subscriber.expect_quiet().await;
    }
    target.stop().await;
}

#[tokio::test]
async fn new_messages_get_ids_of_their_own_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let target = start(&directory).await;
    let mut publisher = target.client().await;
    publisher.publish("ids", b"old").await;
    target.stop().await;
    let target = start(&directory).await;
    let mut publisher = target.client().await;
    publisher.publish("ids", b"new").await;
    let mut subscriber = target.subscriber("ids", "c", 2).await;
    let (old, new) = (subscriber.message().await, subscriber.message().await);
    assert_eq!((&*old.body, &*new.body), (&b"old"[..], &b"new"[..]));
    assert!(old.id < new.id);
    target.stop().await;
}

#[tokio::test]
async fn what_was_saved_comes_back_beyond_the_limits_and_publishers_are_refused() {
    let directory = TempDir::new().unwrap();
    let target = start(&directory).await;
    create_channel(&target, "full", "c").await;
    let mut publisher = target.client().await;
    for body in [b"1", b"2", b"3"] {
        publisher.publish("full", body).await;
    }
    target.stop().await;

    let target = Target::embedded(config(&directory).max_channel_depth(1).max_memory(1)).await;
    let mut publisher = target.client().await;
    publisher.send(&crate::support::publish("full", b"4")).await;
    publisher
        .expect_fatal(
            "E_PUB_FAILED PUB failed channel c of topic full is full: max_channel_depth is 1 messages",
        )
        .await;
    let mut subscriber = target.subscriber("full", "c", 3).await;
    for body in [b"1", b"2", b"3"] {
        assert_eq!(subscriber.message().await.body, body);
    }
    target.stop().await;
}

#[tokio::test]
async fn a_dropped_handle_saves_too() {
    let directory = TempDir::new().unwrap();
    let target = start(&directory).await;
    let mut publisher = target.client().await;
    publisher.publish("dropped", b"kept").await;
    drop(target);
    publisher.expect_close().await;
    // The directory is free once everything is saved.
    let target = loop {
        match Broker::start(config(&directory)).await {
            Ok(broker) => break Target::of(broker),
            Err(StartError::DataPathInUse { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    let mut subscriber = target.subscriber("dropped", "c", 1).await;
    assert_eq!(subscriber.message().await.body, b"kept");
    target.stop().await;
}

#[tokio::test]
async fn pauses_come_back_with_what_waits_behind_them() {
    let directory = TempDir::new().unwrap();
    let target = start(&directory).await;
    for (topic, channel) in [
        ("stopped", "a"),
        ("stopped", "b"),
        ("open", "closed"),
        ("open", "free"),
    ] {
        create_channel(&target, topic, channel).await;
    }
    target.post("/topic/pause?topic=stopped", b"", "").await;
    target
        .post("/channel/pause?topic=open&channel=closed", b"", "")
        .await;
    let mut publisher = target.client().await;
    publisher.publish("stopped", b"1").await;
    publisher.publish("open", b"2").await;
    target.stop().await;

    let target = start(&directory).await;
    let mut free = target.subscriber("open", "free", 1).await;
    assert_eq!(free.message().await.body, b"2");
    let mut closed = target.subscriber("open", "closed", 1).await;
    let mut stopped = target.subscriber("stopped", "a", 1).await;
    closed.expect_quiet().await;
    stopped.expect_quiet().await;
    assert_eq!(target.topic_stats("stopped").await["paused"], true);

    target
        .post("/channel/unpause?topic=open&channel=closed", b"", "")
        .await;
    assert_eq!(closed.message().await.body, b"2");
    target.post("/topic/unpause?topic=stopped", b"", "").await;
    assert_eq!(stopped.message().await.body, b"1");
    let mut other = target.subscriber("stopped", "b", 1).await;
    assert_eq!(other.message().await.body, b"1");
    target.stop().await;
}
