//! Calls per second of an echo service over a broker: caller and service in this process, nothing but the client.
//!
//!     cargo run --release -p almanet-nsq --example echo -- --nsqd 127.0.0.1:4150 --concurrency 64 --calls 100000

#![allow(clippy::print_stdout, reason = "the output is the point")]

use std::{
    collections::HashMap,
    error::Error,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use almanet_nsq::{ChannelName, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicName, Window};
use bytes::{BufMut, Bytes, BytesMut};
use clap::Parser;
use hdrhistogram::Histogram;
use tokio::{sync::oneshot, task::JoinSet, time::sleep};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Debug, Clone, Parser)]
struct Args {
    /// The broker's TCP address.
    #[arg(long, default_value = "127.0.0.1:4150")]
    nsqd: String,
    /// How many calls are under way at once.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// How many calls are measured; a tenth of that is made before, unmeasured.
    #[arg(long, default_value_t = 100_000)]
    calls: u64,
    /// The size of a call in bytes, at least 8.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// How long the service works on each call, in microseconds.
    #[arg(long, default_value_t = 0)]
    work: u64,
    /// Threads of the runtime; 0 for one that runs in the main thread.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// `adaptive`, `unbuffered` or `fixed:N`.
    #[arg(long, default_value = "adaptive")]
    window: String,
}

fn main() -> Fallible<()> {
    let args = Args::parse();
    let runtime = match args.threads {
        0 => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
        threads => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()?,
    };
    runtime.block_on(run(args))
}

async fn run(args: Args) -> Fallible<()> {
    let run = fastrand::u64(..);
    let calls = TopicName::new(format!("echo_{run:016x}#ephemeral"))?;
    let replies = TopicName::new(format!("echo_{run:016x}_replies#ephemeral"))?;

    let mut tasks = JoinSet::new();
    let config = ConsumerConfig::default()
        .max_in_flight(2000)
        .window(window(&args.window)?);
    let consumer = |topic: &TopicName| {
        let (nodes, topic, config) = ([args.nsqd.clone()], topic.clone(), config.clone());
        async move {
            Consumer::connect(nodes, topic, ChannelName::new("echo#ephemeral")?, config)
                .await
                .map_err(Box::<dyn Error + Send + Sync>::from)
        }
    };
    let producer = || Producer::connect(args.nsqd.clone(), ProducerConfig::default());

    let work = Duration::from_micros(args.work);
    tasks.spawn(serve(
        consumer(&calls).await?,
        producer().await?,
        replies.clone(),
        work,
    ));
    let caller = Arc::new(Caller {
        producer: producer().await?,
        topic: calls,
        body: args.body.max(8),
        next: AtomicU64::new(0),
        pending: Mutex::default(),
    });
    tasks.spawn(Arc::clone(&caller).listen(consumer(&replies).await?));

    call_all(&caller, args.calls / 10, args.concurrency).await?;
    let begun = Instant::now();
    let latencies = call_all(&caller, args.calls, args.concurrency).await?;
    let per_second = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    println!(
        "{:>12} concurrency {:>5}: {per_second:>9.0} calls/s, p50 {:>6} us, p99 {:>6} us, max {:>7} us",
        args.window,
        args.concurrency,
        latencies.value_at_quantile(0.5),
        latencies.value_at_quantile(0.99),
        latencies.max(),
    );
    Ok(())
}

/// Answers each call with its own bytes; the call is finished once the reply is confirmed.
async fn serve(mut calls: Consumer, producer: Producer, replies: TopicName, work: Duration) {
    let mut handlers = JoinSet::new();
    while let Some(call) = calls.recv().await {
        let (producer, replies) = (producer.clone(), replies.clone());
        handlers.spawn(async move {
            if !work.is_zero() {
                sleep(work).await;
            }
            producer.publish(&replies, call.body().clone()).await?;
            call.finish()?;
            Fallible::Ok(())
        });
        while handlers.try_join_next().is_some() {}
    }
}

struct Caller {
    producer: Producer,
    topic: TopicName,
    body: usize,
    next: AtomicU64,
    pending: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

impl Caller {
    async fn call(&self) -> Fallible<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut body = BytesMut::zeroed(self.body - 8);
        body.put_u64(number);
        let body: Bytes = body.freeze();
        let (sender, reply) = oneshot::channel();
        self.pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, sender);
        self.producer.publish(&self.topic, body).await?;
        Ok(reply.await?)
    }

    async fn listen(self: Arc<Self>, mut replies: Consumer) {
        while let Some(reply) = replies.recv().await {
            if let Some(number) = reply.body().last_chunk::<8>() {
                let number = u64::from_be_bytes(*number);
                let pending = self
                    .pending
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&number);
                if let Some(sender) = pending {
                    let _ = sender.send(());
                }
            }
            let _ = reply.finish();
        }
    }
}

async fn call_all(caller: &Arc<Caller>, calls: u64, concurrency: usize) -> Fallible<Histogram<u64>> {
    let left = Arc::new(AtomicU64::new(calls));
    let mut callers = JoinSet::new();
    for _ in 0..concurrency {
        let (caller, left) = (Arc::clone(caller), Arc::clone(&left));
        callers.spawn(async move {
            let mut latencies = Histogram::<u64>::new(3)?;
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
            {
                let begun = Instant::now();
                caller.call().await?;
                latencies.record(u64::try_from(begun.elapsed().as_micros())?)?;
            }
            Fallible::Ok(latencies)
        });
    }
    let mut all = Histogram::new(3)?;
    while let Some(latencies) = callers.join_next().await {
        all.add(latencies??)?;
    }
    Ok(all)
}

fn window(text: &str) -> Fallible<Window> {
    match (text, text.split_once(':')) {
        ("adaptive", _) => Ok(Window::Adaptive),
        ("unbuffered", _) => Ok(Window::Unbuffered),
        (_, Some(("fixed", count))) => Ok(Window::Fixed(count.parse()?)),
        _ => Err(format!("{text:?} is no window: write adaptive, fixed:N or unbuffered").into()),
    }
}
