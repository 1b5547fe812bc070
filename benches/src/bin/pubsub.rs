//! Messages from a producer to a consumer, through almanet-nsq alone: no session, no envelope.
//!
//!     cargo run --release -p almanet-benches --bin pubsub -- --nsqd embedded --body 128 --messages 500000 --json
//!
//! `--nsqd ADDR` uses the nsqd there; producer and consumer share this process, and so does the embedded broker. Each
//! publish waits for its confirmation, `--concurrency` of them at a time; the consumer runs meanwhile and finishes each
//! message. The producer stays at most 8,192 messages and 64 MiB ahead of it, so that no queue grows to nsqd's disk.
//! With `--apart` neither disturbs the other: 90,000 messages at a time are published and then consumed; an nsqd with
//! `--mem-queue-size=100000` keeps them in memory, in a topic that stays there. A tenth of the messages go before the
//! measurement to warm up.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use almanet::{Broker, BrokerConfig};
use almanet_benches::{
    Failure,
    load::{histogram, nanos},
};
use almanet_nsq::{ChannelName, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicName};
use bytes::Bytes;
use clap::Parser;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet};

/// Messages that are published and not consumed: below nsqd's `--mem-queue-size` of 10,000.
const MAX_AHEAD: usize = 8192;
/// The same in bytes.
const MAX_BYTES_AHEAD: usize = 64 * 1024 * 1024;
/// Messages that are published before they are consumed, with `--apart`.
const APART: u64 = 90_000;
/// One message in so many is timed: reading the clock for each would be a cost of its own.
const TIMED: u64 = 16;
/// The number of the message and the time of its publish, at the start of each body.
const STAMP: usize = 2 * size_of::<u64>();

/// Measures publishing and consuming.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd, or `embedded` for a broker in this process.
    #[arg(long, default_value = "embedded")]
    nsqd: String,
    /// The size of a message in bytes; at least 16, for its number and time.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(STAMP as i64..))]
    body: u32,
    /// How many messages are measured.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// How many publishes wait for their confirmation at once.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    concurrency: u64,
    /// How many messages share a publish; more than one are an MPUB, as nsqd's own benchmark has 200.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    batch: u64,
    /// Publishes and consumes by turns, so that each rate is that of one alone.
    #[arg(long)]
    apart: bool,
    /// Prints one line of JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    nsqd: String,
    body: u32,
    messages: u64,
    concurrency: u64,
    batch: u64,
    apart: bool,
    /// End to end: from the first publish to the last message that was consumed.
    messages_per_s: f64,
    /// From the first publish to the last confirmation.
    published_per_s: f64,
    /// From the first message that came to the last.
    consumed_per_s: f64,
    /// From before the publish until the message was in the consumer's hands, under this load.
    p50_us: f64,
    p99_us: f64,
    /// Messages that came more than once; NSQ allows that.
    duplicates: u64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let (_broker, address) = if args.nsqd == "embedded" {
        let broker = Broker::start(BrokerConfig::default()).await?;
        let address = broker.tcp_addr().to_string();
        (Some(broker), address)
    } else {
        (None, args.nsqd.clone())
    };
    let unique = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
    // What is ephemeral drops messages when 10,000 wait.
    let kind = if args.apart { "" } else { "#ephemeral" };
    let topic = TopicName::new(format!("bench.pubsub_{unique}{kind}"))?;
    let channel = ChannelName::new(format!("bench{kind}"))?;

    let producer = Producer::connect(&address, ProducerConfig::default()).await?;
    let config = ConsumerConfig::default().max_in_flight(2500);
    let mut consumer = Consumer::connect([&address], topic.clone(), channel, config).await?;
    let epoch = Instant::now();
    let warm_up = (args.messages / 10).max(1);
    run(&producer, &mut consumer, &args, 0..warm_up, epoch).await?;
    let measured = run(
        &producer,
        &mut consumer,
        &args,
        warm_up..warm_up + args.messages,
        epoch,
    )
    .await?;
    report(args, &measured)?;

    consumer.close().await;
    producer.close().await;
    Ok(())
}

struct Measured {
    publishing: Duration,
    consuming: Duration,
    elapsed: Duration,
    latencies: Histogram<u64>,
    duplicates: u64,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            publishing: Duration::ZERO,
            consuming: Duration::ZERO,
            elapsed: Duration::ZERO,
            latencies: histogram(),
            duplicates: 0,
        }
    }
}

/// Publishes and consumes the messages of these numbers.
async fn run(
    producer: &Producer,
    consumer: &mut Consumer,
    args: &Args,
    numbers: Range<u64>,
    epoch: Instant,
) -> Result<Measured, Failure> {
    if args.apart {
        return run_apart(producer, consumer, args, numbers, epoch).await;
    }
    let most = (MAX_BYTES_AHEAD / args.body as usize).clamp(1, MAX_AHEAD);
    let ahead = Arc::new(Semaphore::new(most));
    let begun = Instant::now();
    let topic = consumer.topic().clone();
    let publishing = publish_all(producer, &topic, args, numbers.clone(), &ahead, epoch);
    let consuming = consume(consumer, numbers, &ahead, most, epoch);
    let (publishing, consumed) = tokio::try_join!(publishing, consuming)?;
    Ok(Measured {
        publishing,
        elapsed: begun.elapsed(),
        ..consumed
    })
}

/// Publishes some messages, consumes them, and so on.
async fn run_apart(
    producer: &Producer,
    consumer: &mut Consumer,
    args: &Args,
    numbers: Range<u64>,
    epoch: Instant,
) -> Result<Measured, Failure> {
    let mut sum = Measured::default();
    for first in numbers.clone().step_by(usize::try_from(APART)?) {
        let numbers = first..numbers.end.min(first + APART);
        let ahead = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS / 2));
        let publishing =
            publish_all(producer, consumer.topic(), args, numbers.clone(), &ahead, epoch).await?;
        let consumed = consume(consumer, numbers, &ahead, MAX_AHEAD, epoch).await?;
        sum.publishing += publishing;
        sum.consuming += consumed.consuming;
        sum.elapsed += publishing + consumed.consuming;
        sum.latencies.add(&consumed.latencies)?;
        sum.duplicates += consumed.duplicates;
    }
    Ok(sum)
}

/// Publishes the messages of these numbers, and says how long that took.
async fn publish_all(
    producer: &Producer,
    topic: &TopicName,
    args: &Args,
    numbers: Range<u64>,
    ahead: &Arc<Semaphore>,
    epoch: Instant,
) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let next = Arc::new(AtomicU64::new(numbers.start));
    let mut publishers = JoinSet::new();
    for _ in 0..args.concurrency {
        publishers.spawn(publish(
            producer.clone(),
            topic.clone(),
            (args.body as usize, args.batch),
            (Arc::clone(&next), numbers.end),
            Arc::clone(ahead),
            epoch,
        ));
    }
    while let Some(published) = publishers.join_next().await {
        published??;
    }
    Ok(begun.elapsed())
}

/// Publishes, each batch after the confirmation of the last, for as long as there are numbers.
async fn publish(
    producer: Producer,
    topic: TopicName,
    (size, batch): (usize, u64),
    (next, end): (Arc<AtomicU64>, u64),
    ahead: Arc<Semaphore>,
    epoch: Instant,
) -> Result<(), Failure> {
    loop {
        let first = next.fetch_add(batch, Ordering::Relaxed);
        let numbers = first..end.min(first + batch);
        if numbers.is_empty() {
            return Ok(());
        }
        // The consumer adds a permit for each message that it has.
        let count = u32::try_from(numbers.end - numbers.start)?;
        ahead.acquire_many(count).await?.forget();
        let body = |number: u64| {
            let mut body = vec![b'x'; size];
            body[..8].copy_from_slice(&number.to_be_bytes());
            if number % TIMED == 0 {
                body[8..STAMP].copy_from_slice(&nanos(epoch.elapsed()).to_be_bytes());
            }
            Bytes::from(body)
        };
        if batch == 1 {
            producer.publish(&topic, body(first)).await?;
        } else {
            producer.publish_many(&topic, numbers.map(body).collect()).await?;
        }
    }
}

/// Consumes each of the messages once; those that come again are counted apart.
async fn consume(
    consumer: &mut Consumer,
    numbers: Range<u64>,
    ahead: &Semaphore,
    most_ahead: usize,
    epoch: Instant,
) -> Result<Measured, Failure> {
    let messages = numbers.end - numbers.start;
    let mut seen = vec![false; usize::try_from(messages)?];
    let mut latencies = histogram();
    let (mut first, mut duplicates) = (None, 0);
    let (mut consumed, mut freed) = (0, 0);
    while consumed < messages {
        let delivery = consumer.recv().await.ok_or("the consumer has ended")?;
        first.get_or_insert_with(Instant::now);
        let (number, published) = stamp(delivery.body()).ok_or("a message without a number and a time")?;
        let index = number
            .checked_sub(numbers.start)
            .and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| seen.get_mut(index)) {
            Some(seen) if !*seen => {
                *seen = true;
                consumed += 1;
                if number % TIMED == 0 {
                    latencies.saturating_record(nanos(epoch.elapsed()).saturating_sub(published));
                }
                freed += 1;
                if freed >= (most_ahead / 16).max(1) {
                    ahead.add_permits(freed);
                    freed = 0;
                }
            }
            _ => duplicates += 1,
        }
        delivery.finish()?;
    }
    let consuming = first.map_or(Duration::ZERO, |first| first.elapsed());
    Ok(Measured {
        consuming,
        latencies,
        duplicates,
        ..Measured::default()
    })
}

/// The number and the time that a body starts with.
fn stamp(body: &[u8]) -> Option<(u64, u64)> {
    let (number, rest) = body.split_first_chunk::<8>()?;
    let time = rest.first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), u64::from_be_bytes(*time)))
}

fn report(args: Args, measured: &Measured) -> Result<(), Failure> {
    let per_second = |time: Duration| (args.messages as f64 / time.as_secs_f64()).round();
    let micros = |quantile| measured.latencies.value_at_quantile(quantile) as f64 / 1000.0;
    let report = Report {
        body: args.body,
        messages: args.messages,
        concurrency: args.concurrency,
        batch: args.batch,
        apart: args.apart,
        messages_per_s: per_second(measured.elapsed),
        published_per_s: per_second(measured.publishing),
        consumed_per_s: per_second(measured.consuming),
        p50_us: micros(0.5),
        p99_us: micros(0.99),
        duplicates: measured.duplicates,
        nsqd: args.nsqd,
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report:#?}");
    }
    Ok(())
}
