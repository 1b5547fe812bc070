//! The memory of a process through whose one consumer millions of messages go.
//!
//!     cargo run --release -p almanet-benches --bin endless -- --messages 10000000 --steps 10
//!
//! Publisher and consumer are this process, on one thread, whose allocator counts; the broker has a process of its own,
//! or is the nsqd that `--nsqd` names. At most 8,192 messages are between them, so what grows, grows with the messages that have
//! gone by.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use allocation_counter::measure;
use almanet_benches::{
    Failure,
    child::{self, Role},
    messages::{
        self,
        body::SMALLEST,
        publish::{MAX_AHEAD, TOGETHER, feed},
        read::{Consumed, Consuming, Reader},
    },
    usage::resident_kib,
};
use almanet_nsq::{Producer, ProducerConfig, TopicName};
use clap::Parser;
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

/// Measures the memory of a consumer over many messages.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd; an embedded broker in a process of its own where there is none.
    #[arg(long)]
    nsqd: Option<String>,
    /// By what messages are consumed.
    #[arg(long, value_enum, default_value_t = Consuming::Push)]
    consumer: Consuming,
    /// How many messages go by, at least.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// After how many parts of them memory is read.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// The size of a message in bytes; at least 18, for its number and time.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(SMALLEST as i64..))]
    body: u32,
    /// Prints one line of JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Runs a broker until the input ends; what this program starts.
    #[arg(long, hide = true)]
    broker: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    messages: u64,
    /// What is allocated and not freed, beyond what there was at the start.
    heap_bytes: i64,
    resident_kib: Option<u64>,
    messages_per_s: f64,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    if args.broker {
        return runtime.block_on(child::broker());
    }
    let broker = match &args.nsqd {
        Some(_) => None,
        None => Some(runtime.block_on(Role::start(["--broker"]))?),
    };
    let embedded = broker.as_ref().map(|broker| broker.said().to_owned());
    let address = args.nsqd.clone().or(embedded).unwrap_or_default();
    let topic = messages::topic("endless")?;
    let consumed = Arc::<Consumed>::default();

    let mut heap_bytes = 0;
    let mut parts = None;
    let allocated = measure(|| parts = Some(begin(&runtime, &args, &address, &topic, &consumed)));
    heap_bytes += allocated.bytes_current;
    let (producer, reader) = parts.ok_or("nothing was started")??;

    let mut rows = Vec::new();
    let mut published = 0;
    for step in 1..=args.steps {
        let until = args.messages * step / args.steps;
        let (before, begun) = (published, Instant::now());
        let mut outcome = Ok(());
        let allocated = measure(|| {
            outcome = runtime.block_on(pass(&producer, &topic, &args, &consumed, &mut published, until));
        });
        outcome?;
        heap_bytes += allocated.bytes_current;
        rows.push(Row {
            messages: published,
            heap_bytes,
            resident_kib: resident_kib(),
            messages_per_s: ((published - before) as f64 / begun.elapsed().as_secs_f64()).round(),
        });
    }
    runtime.block_on(async {
        reader.stop().await?;
        producer.close().await;
        if let Some(broker) = broker {
            broker.end().await?;
        }
        Ok::<_, Failure>(())
    })?;
    report(&args, &rows)
}

fn begin(
    runtime: &Runtime,
    args: &Args,
    address: &str,
    topic: &TopicName,
    consumed: &Arc<Consumed>,
) -> Result<(Producer, Reader), Failure> {
    runtime.block_on(async {
        let reader = Reader::start(args.consumer, address, topic, 2500, Arc::clone(consumed)).await?;
        Ok((
            Producer::connect(address, ProducerConfig::default()).await?,
            reader,
        ))
    })
}

/// Publishes until so many messages have gone by, and waits for all of them.
async fn pass(
    producer: &Producer,
    topic: &TopicName,
    args: &Args,
    consumed: &Consumed,
    published: &mut u64,
    until: u64,
) -> Result<(), Failure> {
    while *published < until {
        let numbers = *published..*published + TOGETHER;
        feed(producer, topic, numbers, args.body as usize).await?;
        *published += TOGETHER;
        consumed.until(published.saturating_sub(MAX_AHEAD)).await;
    }
    consumed.until(*published).await;
    // The answers to the last ones leave.
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok(())
}

fn report(args: &Args, rows: &[Row]) -> Result<(), Failure> {
    if args.json {
        println!("{}", serde_json::to_string(rows)?);
        return Ok(());
    }
    println!("| messages | heap, KiB | resident, KiB | messages/s |");
    println!("|---:|---:|---:|---:|");
    for row in rows {
        let resident = row.resident_kib.map_or("-".to_owned(), |kib| kib.to_string());
        println!(
            "| {} | {} | {resident} | {:.0} |",
            row.messages,
            row.heap_bytes / 1024,
            row.messages_per_s
        );
    }
    Ok(())
}
