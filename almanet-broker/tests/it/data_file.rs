//! The file in which the broker keeps what outlives a clean stop: damage to it, who may read it, and where it cannot be.

use std::fs;

use almanet_broker::{Broker, BrokerConfig, StartError, StopError};
use tempfile::TempDir;

use crate::data_path::{STATE, config, finish, names, start};

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

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_reads_what_is_saved() {
    use std::os::unix::fs::PermissionsExt;

    let directory = TempDir::new().unwrap();
    start(&directory).await.stop().await;
    let metadata = fs::metadata(directory.path().join(STATE)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}
