//! Who reads.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use almanet::{EventContext, PushConsumer, ServiceHandle, Session};
use almanet_nsq::{ChannelName, Consumer, ConsumerConfig, TopicName};
use clap::ValueEnum;
use serde::Serialize;
use serde_bytes::ByteBuf;
use tokio::{sync::Notify, task::JoinHandle, time::timeout};

use super::{body::Stamp, publish::TOGETHER};
use crate::Failure;

const CHANNEL: &str = "bench#ephemeral";

/// By what messages are consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consuming {
    /// `almanet_nsq::Consumer`: `recv`, `finish`.
    Bare,
    /// A [`PushConsumer`], which runs a function in a task for each message.
    Push,
    /// `almanet::Consumer`: `recv`, `ack`.
    Pull,
}

impl fmt::Display for Consuming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare => "bare",
            Self::Push => "push",
            Self::Pull => "pull",
        })
    }
}

/// What is done with each message. The same for all, so that what differs is who hands it over.
pub trait Take: Send + Sync + 'static {
    fn take(&self, stamp: Stamp);
}

/// Counts the messages, and says so whenever [`TOGETHER`] more have come.
#[derive(Debug, Default)]
pub struct Consumed {
    messages: AtomicU64,
    some: Notify,
}

impl Consumed {
    pub fn count(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Waits until so many have come, a multiple of [`TOGETHER`]. One waits at a time.
    pub async fn until(&self, messages: u64) {
        while self.count() < messages {
            self.some.notified().await;
        }
    }
}

impl Take for Consumed {
    fn take(&self, _: Stamp) {
        let consumed = self.messages.fetch_add(1, Ordering::Relaxed) + 1;
        if consumed.is_multiple_of(TOGETHER) {
            self.some.notify_one();
        }
    }
}

/// A consumer that reads.
#[derive(Debug)]
pub struct Reader {
    reading: Reading,
    session: Option<Session>,
}

#[derive(Debug)]
enum Reading {
    Task(JoinHandle<Result<(), Failure>>),
    Service(ServiceHandle),
}

impl Reader {
    /// Subscribes with at most `in_flight` messages unanswered, and gives what comes to `taker`.
    pub async fn start(
        by: Consuming,
        address: &str,
        topic: &TopicName,
        in_flight: usize,
        taker: Arc<impl Take>,
    ) -> Result<Self, Failure> {
        if by == Consuming::Bare {
            let config = ConsumerConfig::default().max_in_flight(in_flight);
            let channel = ChannelName::new(CHANNEL)?;
            let consumer = Consumer::connect([address], topic.clone(), channel, config).await?;
            return Ok(Self {
                reading: Reading::Task(tokio::spawn(read_bare(consumer, taker))),
                session: None,
            });
        }
        let session = Session::connect(address).await?;
        let reading = if by == Consuming::Push {
            let consumer = PushConsumer::new(topic.as_str(), CHANNEL, move |_: EventContext, value| {
                take(&*taker, &value);
                std::future::ready(())
            });
            Reading::Service(consumer.concurrency(in_flight).start(&session).await?)
        } else {
            let consume = session.consume_topic::<ByteBuf>(topic, CHANNEL);
            let consumer = consume.max_in_flight(in_flight).await?;
            Reading::Task(tokio::spawn(read_pull(consumer, taker)))
        };
        Ok(Self {
            reading,
            session: Some(session),
        })
    }

    /// Waits until the consumer ends by itself, which none should.
    pub async fn ended(&mut self) -> Failure {
        match &mut self.reading {
            Reading::Task(task) => match task.await {
                Ok(Err(error)) => return error,
                Ok(Ok(())) => {}
                Err(error) => return error.into(),
            },
            Reading::Service(handle) => handle.stopped().await,
        }
        "the consumer has ended".into()
    }

    pub async fn stop(self) -> Result<(), Failure> {
        match self.reading {
            Reading::Task(task) => {
                task.abort();
                // It was aborted.
                let _ = task.await;
            }
            Reading::Service(handle) => timeout(Duration::from_secs(30), handle.stop()).await?,
        }
        if let Some(session) = self.session {
            session.leave().await?;
        }
        Ok(())
    }
}

async fn read_bare(mut consumer: Consumer, taker: Arc<impl Take>) -> Result<(), Failure> {
    while let Some(delivery) = consumer.recv().await {
        taker.take(Stamp::of_message(delivery.body()).ok_or(UNSTAMPED)?);
        delivery.finish()?;
    }
    Ok(())
}

async fn read_pull(mut consumer: almanet::Consumer<ByteBuf>, taker: Arc<impl Take>) -> Result<(), Failure> {
    while let Some(event) = consumer.recv().await {
        let event = event?;
        take(&*taker, &event);
        event.ack()?;
    }
    Ok(())
}

fn take(taker: &impl Take, value: &ByteBuf) {
    if let Some(stamp) = Stamp::of_value(value) {
        taker.take(stamp);
    }
}

const UNSTAMPED: &str = "a message without a number and a time";
