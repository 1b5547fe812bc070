//! The framework's consumers beside the bare client's, over one broker, in alternating slices.
//!
//!     cargo run --release -p almanet-benches --bin consuming -- --nsqd 127.0.0.1:4150 --json
//!
//! Each has a topic of its own. While it is its turn, the topic is kept filled by one producer that publishes many
//! messages with one command, the same for all, so that the consumer and the broker are what there is to wait for. All share this
//! process, and so does the embedded broker. A ratio is one pair of neighbouring slices; 0.9 is a tenth of the messages per second
//! lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use almanet_benches::{
    Failure,
    alternate::Pairs,
    broker::reach,
    messages::{
        self,
        body::SMALLEST,
        publish::{MAX_AHEAD, TOGETHER, feed},
        read::{Consumed, Consuming, Reader},
    },
};
use almanet_nsq::{Producer, ProducerConfig, TopicName};
use clap::Parser;
use serde::Serialize;

/// Compares the framework's consumers with the bare one.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd, or `embedded` for a broker in this process.
    #[arg(long, default_value = "embedded")]
    nsqd: String,
    /// How many pairs of slices each consumer gets. Over nsqd, slices of one kind differ by a quarter: fewer than 40 say little.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    slices: u32,
    /// How long a slice takes, in milliseconds.
    #[arg(long, default_value_t = 250)]
    slice_ms: u64,
    /// The size of a message in bytes; at least 18, for its number and time.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(SMALLEST as i64..))]
    body: u32,
    /// The most messages that a consumer has unanswered.
    #[arg(long, default_value_t = 2500)]
    in_flight: usize,
    /// The framework's consumers that are compared.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Consuming::Push, Consuming::Pull])]
    consumer: Vec<Consuming>,
    /// Prints one line of JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    nsqd: String,
    body: u32,
    in_flight: usize,
    slices: u32,
    slice_ms: u64,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    consumer: Consuming,
    consumed_per_s: f64,
    bare_consumed_per_s: f64,
    ratio_low: f64,
    ratio: f64,
    ratio_high: f64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let broker = reach(&args.nsqd).await?;
    let producer = Producer::connect(&broker.address, ProducerConfig::default()).await?;
    let bare = Side::start(Consuming::Bare, &broker.address, &args).await?;

    let mut rows = Vec::with_capacity(args.consumer.len());
    for &consumer in &args.consumer {
        let framework = Side::start(consumer, &broker.address, &args).await?;
        let pairs = Pairs::measure(
            args.slices as usize,
            || framework.slice(&producer, &args),
            || bare.slice(&producer, &args),
        )
        .await?;
        framework.reader.stop().await?;
        let [ratio_low, ratio, ratio_high] = pairs.ratio().map(|ratio| (ratio * 1000.0).round() / 1000.0);
        rows.push(Row {
            consumer,
            consumed_per_s: pairs.one(),
            bare_consumed_per_s: pairs.other(),
            ratio_low,
            ratio,
            ratio_high,
        });
    }
    bare.reader.stop().await?;
    producer.close().await;
    report(args, rows)
}

/// A consumer with its topic.
struct Side {
    topic: TopicName,
    reader: Reader,
    consumed: Arc<Consumed>,
}

impl Side {
    async fn start(by: Consuming, address: &str, args: &Args) -> Result<Self, Failure> {
        let topic = messages::topic("consuming")?;
        let consumed = Arc::<Consumed>::default();
        let taker = Arc::clone(&consumed);
        Ok(Self {
            reader: Reader::start(by, address, &topic, args.in_flight, taker).await?,
            topic,
            consumed,
        })
    }

    /// Messages per second in one slice, which ends when all that were published are consumed.
    async fn slice(&self, producer: &Producer, args: &Args) -> Result<f64, Failure> {
        let length = Duration::from_millis(args.slice_ms);
        let before = self.consumed.count();
        let begun = Instant::now();
        let mut published = before;
        while begun.elapsed() < length {
            let numbers = published..published + TOGETHER;
            feed(producer, &self.topic, numbers, args.body as usize).await?;
            published += TOGETHER;
            self.consumed.until(published.saturating_sub(MAX_AHEAD)).await;
        }
        self.consumed.until(published).await;
        let consumed = (published - before) as f64;
        Ok((consumed / begun.elapsed().as_secs_f64()).round())
    }
}

fn report(args: Args, rows: Vec<Row>) -> Result<(), Failure> {
    if args.json {
        let report = Report {
            nsqd: args.nsqd,
            body: args.body,
            in_flight: args.in_flight,
            slices: args.slices,
            slice_ms: args.slice_ms,
            rows,
        };
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    println!("| consumer | messages/s | bare client, messages/s | ratio, median | ratio, quartiles |");
    println!("|---|---:|---:|---:|---:|");
    for row in rows {
        println!(
            "| {} | {:.0} | {:.0} | {:.2} | {:.2} to {:.2} |",
            row.consumer,
            row.consumed_per_s,
            row.bare_consumed_per_s,
            row.ratio,
            row.ratio_low,
            row.ratio_high
        );
    }
    Ok(())
}
