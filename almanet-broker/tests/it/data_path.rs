//! What outlives a clean stop. Embedded only: nsqd's files are not these.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use almanet_broker::{Broker, BrokerConfig, StartError, StopError};
use tempfile::TempDir;

use crate::support::{Client, Target, publish_deferred};

const STATE: &str = "almanet-broker.state";

fn config(directory: &TempDir) -> BrokerConfig {
    BrokerConfig::default().data_path(directory.path())
}

async fn start(directory: &TempDir) -> Target {
    Target::embedded(config(directory)).await
}

/// Makes a channel by a subscriber that wants nothing, and leaves it.
async fn create_channel(target: &Target, topic: &str, channel: &str) {
    let mut client = target.subscriber(topic, channel, 0).await;
    client.expect_quiet().await;
}

async fn finish(client: &mut Client, id: &str) {
    client.send(format!("FIN {id}\n").as_bytes()).await;
}

fn names(directory: &Path) -> Vec<String> {
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
async fn a_damaged_file_is_set_aside_and_what_is_before_the_damage_comes_back() {
    let directory = TempDir::new().unwrap();
    let target = start(&directory).await;
    let mut publisher = target.client().await;
    // Two messages are more than a block.
    for number in 0..6_u8 {
        publisher.publish("big", &vec![number; 50_000]).await;
    }
    target.stop().await;
    let path = directory.path().join(STATE);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 10_000]).unwrap();

    let target = start(&directory).await;
    let files = names(directory.path());
    assert!(
        files
            .iter()
            .any(|name| name.starts_with("almanet-broker.state.damaged-")),
        "{files:?}"
    );
    assert!(!files.iter().any(|name| name == STATE), "{files:?}");
    let mut subscriber = target.subscriber("big", "c", 10).await;
    for number in 0..4_u8 {
        let message = subscriber.message().await;
        assert_eq!(message.body.first(), Some(&number));
        finish(&mut subscriber, &message.id).await;
    }
    subscriber.expect_quiet().await;
    target.stop().await;
    // The next start has a good file again, and the damaged one is still there.
    start(&directory).await.stop().await;
    assert_eq!(names(directory.path()).len(), 3);
}

#[tokio::test]
async fn nonsense_instead_of_a_saved_state_is_set_aside() {
    let directory = TempDir::new().unwrap();
    for nonsense in [&b""[..], b"nsqd.dat", &[0xff; 5000]] {
        fs::write(directory.path().join(STATE), nonsense).unwrap();
        let target = start(&directory).await;
        target.client().await.expect_quiet().await;
        target.stop().await;
        fs::remove_file(directory.path().join(STATE)).unwrap();
    }
    let aside = names(directory.path());
    assert_eq!(aside.iter().filter(|name| name.contains("damaged")).count(), 3);
}

#[tokio::test]
async fn two_brokers_do_not_share_a_data_path() {
    let directory = TempDir::new().unwrap();
    let target = start(&directory).await;
    let error = Broker::start(config(&directory)).await.unwrap_err();
    assert!(matches!(error, StartError::DataPathInUse { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "the data path {} is used by another broker: give each its own",
            directory.path().display()
        )
    );
    target.stop().await;
    start(&directory).await.stop().await;
}

#[tokio::test]
async fn a_data_path_that_cannot_be_made_is_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("not/there");
    let error = Broker::start(BrokerConfig::default().data_path(&path))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot use the data path: cannot make the directory {}",
            path.display()
        )
    );
    // One that is only not there yet is made.
    let path = directory.path().join("new");
    let broker = Broker::start(BrokerConfig::default().data_path(&path))
        .await
        .unwrap();
    broker.stop().await.unwrap();
    assert!(path.join(STATE).exists());
}

#[tokio::test]
async fn a_save_that_fails_is_an_error_and_the_state_before_it_stays() {
    let directory = TempDir::new().unwrap();
    start(&directory).await.stop().await;
    let before = fs::read(directory.path().join(STATE)).unwrap();

    let broker = Broker::start(config(&directory)).await.unwrap();
    // Where the new file would be written there is a directory.
    fs::create_dir(directory.path().join("almanet-broker.state.tmp")).unwrap();
    let error = broker.stop().await.unwrap_err();
    assert!(matches!(error, StopError::Save { .. }));
    assert!(
        error
            .to_string()
            .starts_with("cannot save topics, channels and messages: cannot write "),
        "{error}"
    );
    assert_eq!(fs::read(directory.path().join(STATE)).unwrap(), before);
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

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_reads_what_is_saved() {
    use std::os::unix::fs::PermissionsExt;

    let directory = TempDir::new().unwrap();
    start(&directory).await.stop().await;
    let metadata = fs::metadata(directory.path().join(STATE)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
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
