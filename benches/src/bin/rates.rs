//! How fast a broker takes confirmed publishes, and how fast it gives what it has: each alone, over two brokers in turn.
//!
//!     cargo run --release -p almanet-benches --bin rates -- --nsqd 127.0.0.1:4150 --slices 10
//!     cargo run --release -p almanet-benches --bin rates -- --nsqd 127.0.0.1:4150 --slices 10 --batch 200 --concurrency 4
//!
//! Both have the same client, which is `almanet-nsq` alone. In a slice, 90,000 messages are published, each publish
//! confirmed, and then consumed and finished; an nsqd with `--mem-queue-size=100000` keeps them in memory. A ratio is one
//! pair of neighbouring slices; the table has their medians and quartiles.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use almanet_benches::{
    Failure,
    alternate::Pairs,
    broker::{Reached, reach},
};
use almanet_nsq::{ChannelName, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicName};
use bytes::Bytes;
use clap::Parser;
use tokio::task::JoinSet;

/// Messages of one slice.
const MESSAGES: u64 = 90_000;

/// Compares how fast two brokers take and give messages.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd.
    #[arg(long)]
    nsqd: String,
    /// The other: an address, or `embedded` for a broker in this process.
    #[arg(long, default_value = "embedded")]
    broker: String,
    /// How many pairs of slices there are.
    #[arg(long, default_value_t = 10)]
    slices: usize,
    /// The size of a message in bytes.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// How many publishes wait for their confirmation at once.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    concurrency: u64,
    /// How many messages share a publish; more than one are an MPUB, as nsqd's own benchmark has 200.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    batch: u64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let mut one = Side::start(&args.broker).await?;
    let mut other = Side::start(&args.nsqd).await?;
    let mut pairs = Vec::with_capacity(args.slices);
    for number in 0..=args.slices {
        // Who goes first changes, since the first of a pair may find the machine in another state.
        let pair = if number % 2 == 0 {
            let first = one.slice(&args).await?;
            (first, other.slice(&args).await?)
        } else {
            let first = other.slice(&args).await?;
            (one.slice(&args).await?, first)
        };
        // The first pair was there to warm up.
        if number > 0 {
            pairs.push(pair);
        }
    }
    println!(
        "| messages/s | {} | {} | ratio, median | ratio, quartiles |",
        args.broker, args.nsqd
    );
    println!("|---|---:|---:|---:|---:|");
    let row = |name: &str, figure: fn(&Rates) -> f64| {
        let pairs = Pairs::of(pairs.iter().map(|(one, other)| (figure(one), figure(other))));
        let [low, ratio, high] = pairs.ratio();
        let (one, other) = (pairs.one(), pairs.other());
        println!("| {name} | {one:.0} | {other:.0} | {ratio:.2} | {low:.2} to {high:.2} |");
    };
    row("confirmed publishes", |rates| rates.published);
    row("consumed and finished", |rates| rates.consumed);
    one.end().await;
    other.end().await;
    Ok(())
}

/// Messages per second in one slice.
struct Rates {
    published: f64,
    consumed: f64,
}

/// A producer and a consumer on one broker.
struct Side {
    topic: TopicName,
    producer: Producer,
    consumer: Consumer,
    _broker: Reached,
}

impl Side {
    async fn start(broker: &str) -> Result<Self, Failure> {
        let broker = reach(broker).await?;
        let unique = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        // What is ephemeral would drop messages when 10,000 wait.
        let topic = TopicName::new(format!("bench.rates_{unique}"))?;
        let config = ConsumerConfig::default().max_in_flight(2500);
        let channel = ChannelName::new("bench")?;
        Ok(Self {
            producer: Producer::connect(&broker.address, ProducerConfig::default()).await?,
            consumer: Consumer::connect([&broker.address], topic.clone(), channel, config).await?,
            topic,
            _broker: broker,
        })
    }

    async fn slice(&mut self, args: &Args) -> Result<Rates, Failure> {
        let per_second = |begun: Instant| MESSAGES as f64 / begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let next = Arc::new(AtomicU64::new(0));
        let mut publishers = JoinSet::new();
        for _ in 0..args.concurrency {
            let publisher = (self.producer.clone(), self.topic.clone());
            publishers.spawn(publish(publisher, (args.body, args.batch), Arc::clone(&next)));
        }
        while let Some(published) = publishers.join_next().await {
            published??;
        }
        let published = per_second(begun);

        let begun = Instant::now();
        for _ in 0..MESSAGES {
            let delivery = self.consumer.recv().await.ok_or("the consumer has ended")?;
            delivery.finish()?;
        }
        Ok(Rates {
            published,
            consumed: per_second(begun),
        })
    }

    async fn end(self) {
        self.consumer.close().await;
        self.producer.close().await;
    }
}

/// Publishes, each batch after the confirmation of the last, until there are enough.
async fn publish(
    (producer, topic): (Producer, TopicName),
    (size, batch): (usize, u64),
    next: Arc<AtomicU64>,
) -> Result<(), Failure> {
    let body = || Bytes::from(vec![b'x'; size]);
    loop {
        let left = MESSAGES.saturating_sub(next.fetch_add(batch, Ordering::Relaxed));
        match batch.min(left) {
            0 => return Ok(()),
            1 => producer.publish(&topic, body()).await?,
            count => {
                let bodies = (0..count).map(|_| body()).collect();
                producer.publish_many(&topic, bodies).await?;
            }
        }
    }
}
