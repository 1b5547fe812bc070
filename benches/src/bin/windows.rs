//! One kind of window beside another, over one nsqd, at 1 to 1024 calls under way: the adaptive one and the unbuffered
//! mode, unless told otherwise.
//!
//!     cargo run --release -p almanet-benches --bin windows -- --nsqd 127.0.0.1:4150 --slices 20
//!
//! Both have callers and echo services in this process, one of each unless told otherwise, and take turns in short slices, so that whatever else the
//! machine does falls on both alike.

use std::{sync::Arc, time::Duration};

use almanet::{ServiceHandle, Session};
use almanet_benches::{
    Failure,
    alternate::Pairs,
    echo::{self, Carrier, WindowOption},
    load::{self, Bound, Measured},
};
use clap::Parser;
use serde_bytes::ByteBuf;

/// Compares one kind of window with another.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd.
    #[arg(long)]
    nsqd: String,
    /// The one: `adaptive`, `unbuffered` or `fixed:N`.
    #[arg(long, default_value = "adaptive")]
    window: WindowOption,
    /// The other.
    #[arg(long, default_value = "unbuffered")]
    against: WindowOption,
    /// The numbers of calls under way.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,2,4,8,16,32,64,128,256,512,1024"
    )]
    concurrency: Vec<u64>,
    /// How many pairs of slices each number of calls under way gets.
    #[arg(long, default_value_t = 20)]
    slices: usize,
    /// How long a slice takes, in milliseconds.
    #[arg(long, default_value_t = 250)]
    slice_ms: u64,
    /// For how long the handler of a call sleeps, in milliseconds.
    #[arg(long, default_value_t = 0)]
    work_ms: u64,
    /// How many sessions make the calls, in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    callers: u32,
    /// How many sessions serve.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    services: u32,
    /// The size of the payload in bytes.
    #[arg(long, default_value_t = 128)]
    body: usize,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let one = Side::start(&args, args.window).await?;
    let other = Side::start(&args, args.against).await?;

    println!(
        "| calls under way | the one, calls/s | the other, calls/s | ratio, median | ratio, quartiles |"
    );
    println!("|---:|---:|---:|---:|---:|");
    for &concurrency in &args.concurrency {
        let pairs = Pairs::measure(
            args.slices,
            || one.slice(&args, concurrency),
            || other.slice(&args, concurrency),
        )
        .await?;
        let (ones, others, [low, ratio, high]) = (pairs.one(), pairs.other(), pairs.ratio());
        println!("| {concurrency} | {ones:.0} | {others:.0} | {ratio:.2} | {low:.2} to {high:.2} |");
    }

    one.end().await?;
    other.end().await
}

/// Callers and services with one kind of window.
struct Side {
    uri: String,
    calling: Arc<[Session]>,
    serving: Vec<(Session, ServiceHandle)>,
}

impl Side {
    async fn start(args: &Args, window: WindowOption) -> Result<Self, Failure> {
        let mut calling = Vec::new();
        for _ in 0..args.callers {
            calling.push(Carrier::Native.connect(&args.nsqd, window).await?);
        }
        let uri = format!("bench.echo_{}", calling[0].id());
        let mut serving = Vec::new();
        for _ in 0..args.services {
            let session = Carrier::Native.connect(&args.nsqd, window).await?;
            let service = echo::serve_slowly(&session, &uri, Duration::from_millis(args.work_ms)).await?;
            serving.push((session, service));
        }
        Ok(Self {
            uri,
            calling: calling.into(),
            serving,
        })
    }

    /// Calls per second in one slice.
    async fn slice(&self, args: &Args, concurrency: u64) -> Result<f64, Failure> {
        let bound = Bound {
            calls: u64::MAX,
            time: Duration::from_millis(args.slice_ms),
        };
        let (sessions, uri) = (Arc::clone(&self.calling), self.uri.clone());
        let body = ByteBuf::from(vec![b'x'; args.body]);
        let call = move |number: u64| {
            let session = sessions[number as usize % sessions.len()].clone();
            let (uri, body) = (uri.clone(), body.clone());
            async move { echo::call(&session, &uri, &body).await }
        };
        let measured: Measured = load::run(concurrency, bound, call).await?;
        Ok(measured.calls_per_s())
    }

    async fn end(self) -> Result<(), Failure> {
        for (session, service) in self.serving {
            service.stop().await;
            session.leave().await?;
        }
        for session in self.calling.iter() {
            session.clone().leave().await?;
        }
        Ok(())
    }
}
