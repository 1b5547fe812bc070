//! The CPU time of a consumer that cannot work: all its messages fail, and the topic is full of others.
//!
//!     cargo run --release -p almanet-benches --bin idle -- --seconds 10 --json
//!
//! `bare` is `almanet-nsq`'s consumer, which backs off: after a failure no node sends anything for a while, then one message to
//! try. `push` is the framework's, which defers each event that fails on its own, so what is measured begins when all have failed
//! once. All is published before that, and the embedded broker is in a process of its own, whose time does not count.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use almanet::{EventContext, EventRetry, Failure as EventFailure, PushConsumer, Session};
use almanet_benches::{
    Failure,
    child::{self, Role},
    messages::{self, publish::feed},
    usage::cpu_time,
};
use almanet_nsq::{ChannelName, Consumer, ConsumerConfig, Producer, ProducerConfig};
use clap::{Parser, ValueEnum};
use serde::Serialize;
use serde_bytes::ByteBuf;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

/// Messages that are published before the measurement: below nsqd's `--mem-queue-size` of 10,000.
const MESSAGES: u64 = 8192;
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures the CPU time of a consumer that backs off.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd; an embedded broker in a process of its own where there is none.
    #[arg(long)]
    nsqd: Option<String>,
    #[arg(long, value_enum, default_value_t = Kind::Bare)]
    consumer: Kind,
    /// For how long the process is measured.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Prints one line of JSON instead of text.
    #[arg(long)]
    json: bool,
    /// Runs a broker until the input ends; what this program starts.
    #[arg(long, hide = true)]
    broker: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Bare,
    Push,
}

#[derive(Debug, Serialize)]
struct Report {
    consumer: Kind,
    messages_in_topic: u64,
    seconds: f64,
    /// Messages that failed before the measurement, and during it.
    failed_before: u64,
    failed_meanwhile: u64,
    /// User and system time of this process, to a hundredth of a second; absent where the system does not tell.
    cpu_ms: Option<f64>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    if args.broker {
        return child::broker().await;
    }
    let broker = match &args.nsqd {
        Some(_) => None,
        None => Some(Role::start(["--broker"]).await?),
    };
    let embedded = broker.as_ref().map(|broker| broker.said().to_owned());
    let address = args.nsqd.clone().or(embedded).unwrap_or_default();
    let topic = messages::topic("idle")?;
    let failed = Arc::<Failed>::default();

    // The channel is there before the messages, which would wait in the topic.
    let consumer = Failing::start(args.consumer, &address, topic.as_str(), Arc::clone(&failed)).await?;
    let producer = Producer::connect(&address, ProducerConfig::default()).await?;
    for first in (0..MESSAGES).step_by(256) {
        feed(&producer, &topic, first..first + 256, 128).await?;
    }
    producer.close().await;
    let enough = match args.consumer {
        Kind::Bare => 1,
        Kind::Push => MESSAGES,
    };
    timeout(PATIENCE, failed.until(enough)).await?;
    // The answers to them leave.
    sleep(Duration::from_millis(500)).await;

    let (failed_before, cpu_before) = (failed.count(), cpu_time(process::id()));
    sleep(Duration::from_secs_f64(args.seconds)).await;
    let cpu = cpu_before.and_then(|before| cpu_time(process::id())?.checked_sub(before));
    let report = Report {
        consumer: args.consumer,
        messages_in_topic: MESSAGES,
        seconds: args.seconds,
        failed_before,
        failed_meanwhile: failed.count() - failed_before,
        cpu_ms: cpu.map(|cpu| cpu.as_secs_f64() * 1000.0),
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report:#?}");
    }
    consumer.stop().await?;
    match broker {
        Some(broker) => broker.end().await,
        None => Ok(()),
    }
}

/// Counts what has failed.
#[derive(Default)]
struct Failed {
    messages: AtomicU64,
    another: Notify,
}

impl Failed {
    fn add(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.another.notify_one();
    }

    fn count(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    async fn until(&self, messages: u64) {
        while self.count() < messages {
            self.another.notified().await;
        }
    }
}

/// A consumer whose messages all fail.
enum Failing {
    Bare(tokio::task::JoinHandle<()>),
    Push(Session, almanet::ServiceHandle),
}

impl Failing {
    async fn start(kind: Kind, address: &str, topic: &str, failed: Arc<Failed>) -> Result<Self, Failure> {
        match kind {
            Kind::Bare => {
                let (topic, channel) = (topic.parse()?, ChannelName::new("bench#ephemeral")?);
                // The first pause outlasts the measurement.
                let pauses = Duration::from_secs(120)..=Duration::from_secs(120);
                let config = ConsumerConfig::default().backoff(pauses);
                let mut consumer = Consumer::connect([address], topic, channel, config).await?;
                Ok(Self::Bare(tokio::spawn(async move {
                    while let Some(delivery) = consumer.recv().await {
                        failed.add();
                        // One that is lost comes again.
                        let _ = delivery.requeue(Duration::ZERO);
                    }
                })))
            }
            Kind::Push => {
                let session = Session::connect(address).await?;
                let consumer =
                    PushConsumer::new(topic, "bench#ephemeral", move |_: EventContext, _: ByteBuf| {
                        failed.add();
                        std::future::ready(Err::<(), _>(EventFailure::retry("as it shall")))
                    });
                let consumer = consumer.retry(EventRetry::fixed(Duration::from_secs(300)));
                let handle = consumer.concurrency(256).start(&session).await?;
                Ok(Self::Push(session, handle))
            }
        }
    }

    async fn stop(self) -> Result<(), Failure> {
        match self {
            Self::Bare(task) => {
                task.abort();
                // It was aborted.
                let _ = task.await;
            }
            Self::Push(session, handle) => {
                handle.stop().await;
                session.leave().await?;
            }
        }
        Ok(())
    }
}
