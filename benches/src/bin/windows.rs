//! The adaptive window beside the unbuffered mode, over one nsqd, at 1 to 1024 calls under way.
//!
//!     cargo run --release -p almanet-benches --bin windows -- --nsqd 127.0.0.1:4150 --slices 20
//!
//! Both have a caller and an echo service in this process, and take turns in short slices, so that whatever else the
//! machine does falls on both alike.

use std::time::Duration;

use almanet::{ServiceHandle, Session};
use almanet_benches::{
    Failure,
    alternate::Pairs,
    echo::{self, Carrier, WindowOption},
    load::{self, Bound, Measured},
};
use clap::Parser;
use serde_bytes::ByteBuf;

const CONCURRENCIES: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// Compares the adaptive window with the unbuffered mode.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd.
    #[arg(long)]
    nsqd: String,
    /// How many pairs of slices each number of calls under way gets.
    #[arg(long, default_value_t = 20)]
    slices: usize,
    /// How long a slice takes, in milliseconds.
    #[arg(long, default_value_t = 250)]
    slice_ms: u64,
    /// The size of the payload in bytes.
    #[arg(long, default_value_t = 128)]
    body: usize,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let adaptive = Side::start(&args, "adaptive").await?;
    let unbuffered = Side::start(&args, "unbuffered").await?;

    println!(
        "| calls under way | adaptive, calls/s | unbuffered, calls/s | ratio, median | ratio, quartiles |"
    );
    println!("|---:|---:|---:|---:|---:|");
    for concurrency in CONCURRENCIES {
        let pairs = Pairs::measure(
            args.slices,
            || adaptive.slice(&args, concurrency),
            || unbuffered.slice(&args, concurrency),
        )
        .await?;
        let (adaptive, unbuffered, [low, ratio, high]) = (pairs.one(), pairs.other(), pairs.ratio());
        println!("| {concurrency} | {adaptive:.0} | {unbuffered:.0} | {ratio:.2} | {low:.2} to {high:.2} |");
    }

    adaptive.end().await?;
    unbuffered.end().await
}

/// A caller and a service with one kind of window.
struct Side {
    uri: String,
    calling: Session,
    serving: Session,
    service: ServiceHandle,
}

impl Side {
    async fn start(args: &Args, window: &str) -> Result<Self, Failure> {
        let window: WindowOption = window.parse()?;
        let calling = Carrier::Native.connect(&args.nsqd, window).await?;
        let serving = Carrier::Native.connect(&args.nsqd, window).await?;
        let uri = format!("bench.echo_{}", calling.id());
        let service = echo::serve(&serving, &uri).await?;
        Ok(Self {
            uri,
            calling,
            serving,
            service,
        })
    }

    /// Calls per second in one slice.
    async fn slice(&self, args: &Args, concurrency: u64) -> Result<f64, Failure> {
        let bound = Bound {
            calls: u64::MAX,
            time: Duration::from_millis(args.slice_ms),
        };
        let (session, uri) = (self.calling.clone(), self.uri.clone());
        let body = ByteBuf::from(vec![b'x'; args.body]);
        let call = move |_| {
            let (session, uri, body) = (session.clone(), uri.clone(), body.clone());
            async move { echo::call(&session, &uri, &body).await }
        };
        let measured: Measured = load::run(concurrency, bound, call).await?;
        Ok(measured.calls_per_s())
    }

    async fn end(self) -> Result<(), Failure> {
        self.service.stop().await;
        self.serving.leave().await?;
        Ok(self.calling.leave().await?)
    }
}
