//! Who publishes.

use almanet::{ProduceError, Session};
use almanet_nsq::{Producer, ProducerConfig, PublishError, TopicName};
use bytes::Bytes;
use clap::ValueEnum;
use serde::Serialize;

use super::body::Stamp;
use crate::Failure;

/// How many messages a consumer's benchmark publishes with one command.
pub const TOGETHER: u64 = 256;
/// How many it has published that are not consumed: below nsqd's `--mem-queue-size` of 10,000.
pub const MAX_AHEAD: u64 = 32 * TOGETHER;

/// By what messages are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Producing {
    /// `almanet_nsq::Producer`.
    Bare,
    /// [`Session::produce`].
    Session,
}

/// A publisher. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Publisher {
    Bare(Producer),
    Session(Session),
}

impl Publisher {
    pub async fn connect(by: Producing, address: &str) -> Result<Self, Failure> {
        Ok(match by {
            Producing::Bare => Self::Bare(Producer::connect(address, ProducerConfig::default()).await?),
            Producing::Session => Self::Session(Session::connect(address).await?),
        })
    }

    /// Publishes a message of `size` bytes; returns when it is confirmed.
    pub async fn publish(&self, topic: &TopicName, stamp: Stamp, size: usize) -> Result<(), Failure> {
        match self {
            Self::Bare(producer) => {
                let published: Result<(), PublishError> = producer.publish(topic, stamp.message(size)).await;
                published?;
            }
            Self::Session(session) => {
                let produced: Result<(), ProduceError> = session.produce(topic, &stamp.value(size)).await;
                produced?;
            }
        }
        Ok(())
    }

    pub async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Bare(producer) => producer.close().await,
            Self::Session(session) => session.leave().await?,
        }
        Ok(())
    }
}

/// Publishes messages of `size` bytes in commands of many (MPUB), which costs little for each: for benchmarks of
/// consumers.
pub async fn feed(
    producer: &Producer,
    topic: &TopicName,
    messages: std::ops::Range<u64>,
    size: usize,
) -> Result<(), Failure> {
    let bodies: Vec<Bytes> = messages
        .map(|number| Stamp { number, time: 0 }.message(size))
        .collect();
    Ok(producer.publish_many(topic, bodies).await?)
}
