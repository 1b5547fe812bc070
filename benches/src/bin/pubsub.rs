//! Messages from a producer to a consumer: through almanet-nsq alone, or through the framework.
//!
//!     cargo run --release -p almanet-benches --bin pubsub -- --nsqd embedded --body 128 --messages 500000 --json
//!     cargo run --release -p almanet-benches --bin pubsub -- --producer session --consumer push --messages 500000 --json
//!
//! `--nsqd ADDR` uses the nsqd there; producer and consumer share this process, and so does the embedded broker. Each
//! publish waits for its confirmation, `--concurrency` of them at a time; the consumer runs meanwhile and finishes each
//! message. The producer stays at most 8,192 messages and 64 MiB ahead of it, so that no queue grows to nsqd's disk. A
//! tenth of the messages go before the measurement to warm up.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use almanet_benches::{
    Failure,
    broker::reach,
    load::{histogram, nanos},
    messages::{
        self,
        body::{SMALLEST, Stamp},
        publish::{Producing, Publisher},
        read::{Consuming, Reader, Take},
    },
};
use almanet_nsq::TopicName;
use clap::Parser;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
};

/// Messages that are published and not consumed: below nsqd's `--mem-queue-size` of 10,000.
const MAX_AHEAD: usize = 8192;
/// The same in bytes.
const MAX_BYTES_AHEAD: usize = 64 * 1024 * 1024;
/// As many messages as nsqd delivers to one connection at a time, by its default.
const IN_FLIGHT: usize = 2500;
/// One message in so many is timed: reading the clock for each would be a cost of its own.
const TIMED: u64 = 16;

/// Measures publishing and consuming.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd, or `embedded` for a broker in this process.
    #[arg(long, default_value = "embedded")]
    nsqd: String,
    /// By what messages are published.
    #[arg(long, value_enum, default_value_t = Producing::Bare)]
    producer: Producing,
    /// By what messages are consumed.
    #[arg(long, value_enum, default_value_t = Consuming::Bare)]
    consumer: Consuming,
    /// The size of a message in bytes; at least 18, for its number and time.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(SMALLEST as i64..))]
    body: u32,
    /// How many messages are measured.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// How many publishes wait for their confirmation at once.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    concurrency: u64,
    /// Prints one line of JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    nsqd: String,
    producer: Producing,
    consumer: Consuming,
    body: u32,
    messages: u64,
    concurrency: u64,
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
    let broker = reach(&args.nsqd).await?;
    let topic = messages::topic("pubsub")?;
    let warm_up = (args.messages / 10).max(1);
    let counted = Arc::new(Counted::new(&args, warm_up)?);

    let publisher = Publisher::connect(args.producer, &broker.address).await?;
    let taker = Arc::clone(&counted);
    let mut reader = Reader::start(args.consumer, &broker.address, &topic, IN_FLIGHT, taker).await?;
    let measured = tokio::select! {
        error = reader.ended() => return Err(error),
        measured = async {
            run(&publisher, &topic, &args, 0..warm_up, &counted).await?;
            run(&publisher, &topic, &args, warm_up..warm_up + args.messages, &counted).await
        } => measured?,
    };
    report(args, &measured, &counted)?;

    reader.stop().await?;
    publisher.close().await
}

struct Measured {
    publishing: Duration,
    consuming: Duration,
    elapsed: Duration,
}

/// Publishes the messages of these numbers, and waits until they are consumed.
async fn run(
    publisher: &Publisher,
    topic: &TopicName,
    args: &Args,
    numbers: Range<u64>,
    counted: &Arc<Counted>,
) -> Result<Measured, Failure> {
    let begun = Instant::now();
    let end = numbers.end;
    let next = Arc::new(AtomicU64::new(numbers.start));
    let mut publishers = JoinSet::new();
    for _ in 0..args.concurrency {
        publishers.spawn(publish(
            publisher.clone(),
            topic.clone(),
            args.body as usize,
            (Arc::clone(&next), end),
            Arc::clone(counted),
        ));
    }
    let publishing = async {
        while let Some(published) = publishers.join_next().await {
            published??;
        }
        Ok::<_, Failure>(begun.elapsed())
    };
    let consuming = async {
        counted.until(end).await;
        Ok(counted.first.get().map_or(Duration::ZERO, Instant::elapsed))
    };
    let (publishing, consuming) = tokio::try_join!(publishing, consuming)?;
    Ok(Measured {
        publishing,
        consuming,
        elapsed: begun.elapsed(),
    })
}

/// Publishes, each message after the confirmation of the last, for as long as there are numbers.
async fn publish(
    publisher: Publisher,
    topic: TopicName,
    size: usize,
    (next, end): (Arc<AtomicU64>, u64),
    counted: Arc<Counted>,
) -> Result<(), Failure> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= end {
            return Ok(());
        }
        // The consumer adds a permit for each message that it has.
        counted.ahead.acquire().await?.forget();
        let time = match number % TIMED {
            0 => nanos(counted.epoch.elapsed()),
            _ => 0,
        };
        publisher.publish(&topic, Stamp { number, time }, size).await?;
    }
}

/// What has been consumed: each of the messages once; those that come again are counted apart.
struct Counted {
    epoch: Instant,
    /// How many messages the publishers may be ahead.
    ahead: Semaphore,
    /// After so many messages the publishers hear of it.
    told_after: u64,
    seen: Vec<AtomicBool>,
    consumed: AtomicU64,
    duplicates: AtomicU64,
    /// The messages before this one only warm up.
    warm_up: u64,
    first: OnceLock<Instant>,
    latencies: Mutex<Histogram<u64>>,
    progress: Notify,
}

impl Counted {
    fn new(args: &Args, warm_up: u64) -> Result<Self, Failure> {
        let most = (MAX_BYTES_AHEAD / args.body as usize).clamp(1, MAX_AHEAD);
        let messages = usize::try_from(warm_up + args.messages)?;
        Ok(Self {
            epoch: Instant::now(),
            ahead: Semaphore::new(most),
            told_after: (most as u64 / 16).max(1),
            seen: std::iter::repeat_with(AtomicBool::default)
                .take(messages)
                .collect(),
            consumed: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            warm_up,
            first: OnceLock::new(),
            latencies: Mutex::new(histogram()),
            progress: Notify::new(),
        })
    }

    /// Waits until so many have been consumed.
    async fn until(&self, messages: u64) {
        while self.consumed.load(Ordering::Acquire) < messages {
            self.progress.notified().await;
        }
    }

    fn latencies(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Take for Counted {
    fn take(&self, Stamp { number, time }: Stamp) {
        let seen = usize::try_from(number)
            .ok()
            .and_then(|index| self.seen.get(index));
        if seen.is_none_or(|seen| seen.swap(true, Ordering::Relaxed)) {
            self.duplicates.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if number >= self.warm_up {
            self.first.get_or_init(Instant::now);
            if number % TIMED == 0 {
                self.latencies()
                    .saturating_record(nanos(self.epoch.elapsed()).saturating_sub(time));
            }
        }
        let consumed = self.consumed.fetch_add(1, Ordering::AcqRel) + 1;
        if consumed.is_multiple_of(self.told_after) {
            self.ahead.add_permits(self.told_after as usize);
        }
        if consumed == self.warm_up || consumed == self.seen.len() as u64 {
            self.progress.notify_one();
        }
    }
}

fn report(args: Args, measured: &Measured, counted: &Counted) -> Result<(), Failure> {
    let per_second = |time: Duration| (args.messages as f64 / time.as_secs_f64()).round();
    let latencies = counted.latencies();
    let micros = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    let report = Report {
        producer: args.producer,
        consumer: args.consumer,
        body: args.body,
        messages: args.messages,
        concurrency: args.concurrency,
        messages_per_s: per_second(measured.elapsed),
        published_per_s: per_second(measured.publishing),
        consumed_per_s: per_second(measured.consuming),
        p50_us: micros(0.5),
        p99_us: micros(0.99),
        duplicates: counted.duplicates.load(Ordering::Relaxed),
        nsqd: args.nsqd,
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report:#?}");
    }
    Ok(())
}
