//! How fast a broker takes confirmed publishes, and how fast it gives what it has: each alone, over two brokers in turn.
//!
//!     cargo run --release -p almanet-benches --bin rates -- --nsqd 127.0.0.1:4150 --slices 12
//!     cargo run --release -p almanet-benches --bin rates -- --nsqd 127.0.0.1:4150 --broker embedded --load 1x256
//!
//! Both have the same client, which is `almanet-nsq` alone, in this process. In a slice, 90,000 messages are published
//! (`--messages`), each publish confirmed, and then consumed and finished; an nsqd with `--mem-queue-size=100000` keeps them in
//! memory. A ratio is one pair of neighbouring slices; the table has their medians and quartiles.
//!
//! A load says how many messages share a publish (more than one are an MPUB, as nsqd's own benchmark has 200) and how many
//! publishes wait for their confirmation at once. Where client and brokers share the processors, messages per second say
//! what both cost together; what the broker costs of that are the last two columns.

use std::{fmt, net::SocketAddr, str::FromStr, time::Instant};

use almanet_benches::{
    Failure,
    alternate::Pairs,
    broker::{Reached, reach},
    child::{self, Role},
    usage::{cpu_time, listener},
};
use almanet_nsq::{ChannelName, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicName};
use bytes::Bytes;
use clap::Parser;
use tokio::task::JoinSet;

/// The role of a broker in a process of its own.
const BROKER: &str = "--serve";

/// Compares how fast two brokers take and give messages.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd.
    #[arg(long)]
    nsqd: String,
    /// The other: an address, `process` for a broker in a process of its own, or `embedded` for one in this process.
    #[arg(long, default_value = "process")]
    broker: String,
    /// How many pairs of slices there are for each load.
    #[arg(long, default_value_t = 12)]
    slices: usize,
    /// How many messages a slice has; nsqd keeps no more than its `--mem-queue-size` in memory.
    #[arg(long, default_value_t = 90_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// The size of a message in bytes.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// The loads: messages to a publish x publishes under way.
    #[arg(long, value_delimiter = ',', default_value = "1x64,1x256,1x1024,200x4,200x16")]
    load: Vec<Load>,
}

/// How messages are published.
#[derive(Debug, Clone, Copy)]
struct Load {
    batch: u64,
    concurrency: u64,
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|number| (1..=10_000).contains(number));
        let parsed = text.split_once('x').and_then(|(batch, concurrency)| {
            Some(Self {
                batch: number(batch)?,
                concurrency: number(concurrency)?,
            })
        });
        parsed.ok_or_else(|| format!("{text:?} is not as 200x16, two numbers from 1 to 10,000"))
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.batch, self.concurrency)
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    if std::env::args().nth(1).is_some_and(|first| first == BROKER) {
        return child::broker().await;
    }
    let args = Args::parse();
    let mut one = Side::start(&args.broker, &args).await?;
    let mut other = Side::start(&args.nsqd, &args).await?;
    println!(
        "| | {}, messages/s | {}, messages/s | ratio, median | ratio, quartiles | broker's CPU, us/message | other's CPU |",
        args.broker, args.nsqd
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let mut all = Vec::new();
    for &load in &args.load {
        let mut pairs = Vec::with_capacity(args.slices);
        for number in 0..=args.slices {
            // Who goes first changes, since the first of a pair may find the machine in another state.
            let pair = if number % 2 == 0 {
                let first = one.slice(load).await?;
                (first, other.slice(load).await?)
            } else {
                let first = other.slice(load).await?;
                (one.slice(load).await?, first)
            };
            // The first pair was there to warm up.
            if number > 0 {
                pairs.push(pair);
            }
        }
        row(&format!("confirmed publishes, {load}"), &args, &pairs, |slice| {
            slice.published
        });
        all.extend(pairs);
    }
    row("consumed and finished", &args, &all, |slice| slice.consumed);
    one.end().await?;
    other.end().await
}

fn row(name: &str, args: &Args, pairs: &[(Slice, Slice)], rate: fn(&Slice) -> Rate) {
    let rates = Pairs::of(
        pairs
            .iter()
            .map(|(one, other)| (rate(one).per_s, rate(other).per_s)),
    );
    let cpu = |of: fn(&(Slice, Slice)) -> &Slice| {
        let total: Option<f64> = pairs.iter().map(|pair| rate(of(pair)).cpu_s).sum();
        let us = total.map(|total| total * 1e6 / (args.messages as f64 * pairs.len() as f64));
        us.map_or("-".to_owned(), |us| format!("{us:.2}"))
    };
    let [low, ratio, high] = rates.ratio();
    println!(
        "| {name} | {:.0} | {:.0} | {ratio:.2} | {low:.2} to {high:.2} | {} | {} |",
        rates.one(),
        rates.other(),
        cpu(|pair| &pair.0),
        cpu(|pair| &pair.1)
    );
}

/// What one slice gave.
#[derive(Debug, Clone, Copy)]
struct Slice {
    published: Rate,
    consumed: Rate,
}

#[derive(Debug, Clone, Copy)]
struct Rate {
    per_s: f64,
    /// The broker's CPU time; absent where it shares the client's process.
    cpu_s: Option<f64>,
}

/// A producer and a consumer on one broker.
struct Side {
    messages: u64,
    body: Bytes,
    topic: TopicName,
    producer: Producer,
    consumer: Consumer,
    /// The broker, where it has a process that is not this one.
    pid: Option<u32>,
    role: Option<Role>,
    _broker: Option<Reached>,
}

impl Side {
    async fn start(broker: &str, args: &Args) -> Result<Self, Failure> {
        let (mut role, mut reached) = (None, None);
        let address = if broker == "process" {
            role.insert(Role::start([BROKER]).await?).said().to_owned()
        } else {
            reached.insert(reach(broker).await?).address.clone()
        };
        let pid = match broker {
            "embedded" => None,
            _ => address.parse::<SocketAddr>().ok().and_then(listener),
        };
        let unique = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        // What is ephemeral would drop messages when 10,000 wait.
        let topic = TopicName::new(format!("bench.rates_{unique}"))?;
        let config = ConsumerConfig::default().max_in_flight(2500);
        let channel = ChannelName::new("bench")?;
        Ok(Self {
            messages: args.messages,
            // The messages share one body, as in nsqd's own benchmark: making it is not the broker's.
            body: vec![b'x'; args.body].into(),
            producer: Producer::connect(&address, ProducerConfig::default()).await?,
            consumer: Consumer::connect([&address], topic.clone(), channel, config).await?,
            topic,
            pid,
            role,
            _broker: reached,
        })
    }

    async fn slice(&mut self, load: Load) -> Result<Slice, Failure> {
        let measuring = Measuring::begin(self.pid);
        let mut publishers = JoinSet::new();
        for number in 0..load.concurrency {
            // The same number for each, one more for the first of them if that does not come out even.
            let more = u64::from(number < self.messages % load.concurrency);
            let messages = self.messages / load.concurrency + more;
            let publisher = (self.producer.clone(), self.topic.clone());
            publishers.spawn(publish(publisher, messages, load.batch, self.body.clone()));
        }
        while let Some(published) = publishers.join_next().await {
            published??;
        }
        let published = measuring.end(self.messages);

        let measuring = Measuring::begin(self.pid);
        for _ in 0..self.messages {
            let delivery = self.consumer.recv().await.ok_or("the consumer has ended")?;
            delivery.finish()?;
        }
        Ok(Slice {
            published,
            consumed: measuring.end(self.messages),
        })
    }

    async fn end(self) -> Result<(), Failure> {
        self.consumer.close().await;
        self.producer.close().await;
        match self.role {
            Some(role) => role.end().await,
            None => Ok(()),
        }
    }
}

/// Measures what becomes of the messages of a slice.
struct Measuring {
    pid: Option<u32>,
    cpu_s: Option<f64>,
    begun: Instant,
}

impl Measuring {
    fn begin(pid: Option<u32>) -> Self {
        Self {
            pid,
            cpu_s: cpu_s(pid),
            begun: Instant::now(),
        }
    }

    fn end(self, messages: u64) -> Rate {
        Rate {
            per_s: messages as f64 / self.begun.elapsed().as_secs_f64(),
            cpu_s: cpu_s(self.pid)
                .zip(self.cpu_s)
                .map(|(after, before)| after - before),
        }
    }
}

fn cpu_s(pid: Option<u32>) -> Option<f64> {
    pid.and_then(cpu_time).map(|time| time.as_secs_f64())
}

/// Publishes, each batch after the confirmation of the last, until there are enough.
async fn publish(
    (producer, topic): (Producer, TopicName),
    mut messages: u64,
    batch: u64,
    body: Bytes,
) -> Result<(), Failure> {
    while messages > 0 {
        let count = batch.min(messages);
        match count {
            1 => producer.publish(&topic, body.clone()).await?,
            _ => {
                let bodies = vec![body.clone(); count as usize];
                producer.publish_many(&topic, bodies).await?;
            }
        }
        messages -= count;
    }
    Ok(())
}
