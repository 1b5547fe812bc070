//! A session without a broker: what is refused there, and what ends. What is the same as over a broker is in [`super::ways`].

use almanet::{
    ProduceError, Session,
    transport::{InProcessTransport, PublishError},
};

pub(super) async fn in_process() -> Session {
    Session::builder()
        .transport(InProcessTransport::new())
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn what_nsqd_refuses_is_refused_in_process_too() {
    let session = in_process().await;
    let large = "a".repeat(1024 * 1024);
    assert!(matches!(
        session.produce("large", &large).await,
        Err(ProduceError::Publish(PublishError::TooLarge { .. }))
    ));
    // Nobody reads, so there is an end to it.
    let mut published = 0;
    let refused = loop {
        match session.emit_many("full", 1000).await {
            Ok(()) => published += 1000,
            Err(error) => break error,
        }
    };
    assert_eq!(published, 100_000);
    assert!(
        matches!(refused, ProduceError::Publish(PublishError::Refused { .. })),
        "{refused}"
    );
    // All or none: the batch that did not fit left nothing.
    let mut consumer = session
        .consume_topic::<u64>("full", "worker")
        .await
        .unwrap()
        .auto_ack();
    for _ in 0..100_000 {
        consumer.recv().await.unwrap().unwrap();
    }
    session.produce("full", &7777).await.unwrap();
    assert_eq!(consumer.recv().await.unwrap().unwrap(), 7777);
}

/// Publishes many small messages at once.
trait EmitMany {
    async fn emit_many(&self, topic: &str, count: u64) -> Result<(), ProduceError>;
}

impl EmitMany for Session {
    async fn emit_many(&self, topic: &str, count: u64) -> Result<(), ProduceError> {
        let mut batch = self.batch();
        for number in 0..count {
            batch.produce(topic, &number)?;
        }
        batch
            .commit()
            .await
            .map_err(|error| ProduceError::Publish(error.source))
    }
}

#[tokio::test]
async fn ephemeral_channels_end_with_their_last_consumer() {
    let session = in_process().await;
    let first = session
        .consume_topic::<u64>("numbers", "own#ephemeral")
        .await
        .unwrap();
    session.produce("numbers", &1).await.unwrap();
    first.close().await;
    session.produce("numbers", &2).await.unwrap();
    let mut second = session
        .consume_topic::<u64>("numbers", "own#ephemeral")
        .await
        .unwrap();
    let event = second.recv().await.unwrap().unwrap();
    assert_eq!(
        *event, 2,
        "a topic without a channel keeps what is published, and the first channel's was gone"
    );
    event.ack().unwrap();
}
