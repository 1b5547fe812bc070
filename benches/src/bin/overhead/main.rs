//! What the framework costs: its echo beside one that is written on `almanet-nsq` alone, in alternating slices.
//!
//!     cargo run --release -p almanet-benches --bin overhead -- --nsqd embedded --slices 12 --json
//!
//! `--nsqd ADDR` uses the nsqd there. Both echoes have a caller and a service in this process, with connections of
//! their own, and so does the embedded broker. [`bare`] says what the other echo does and leaves out. Tracing is compiled in,
//! and nobody looks at it. A ratio is one pair of neighbouring slices; 0.75 is a quarter of the calls per second lost.

mod bare;
mod framework;

use std::{future::Future, sync::Arc, time::Duration};

use almanet_benches::{
    Failure,
    alternate::Pairs,
    broker::reach,
    load::{self, Bound},
};
use bare::BareEcho;
use clap::{Parser, ValueEnum};
use framework::FrameworkEcho;
use serde::Serialize;

/// As many calls as nsqd delivers to one connection at a time, by its default.
const IN_FLIGHT: usize = 2500;

/// Compares the framework's echo with one on the bare client.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd, or `embedded` for a broker in this process.
    #[arg(long, default_value = "embedded")]
    nsqd: String,
    /// How many calls are under way at once; several numbers, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256, 1024])]
    concurrency: Vec<u64>,
    /// How many pairs of slices each number of calls under way gets.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    slices: u32,
    /// How long a slice takes, in milliseconds.
    #[arg(long, default_value_t = 250)]
    slice_ms: u64,
    /// The size of the payload in bytes.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// How the bare service handles its messages.
    #[arg(long, value_enum, default_value_t = Handling::InTurn)]
    bare: Handling,
    /// Measures one of them alone, for a profiler to look at.
    #[arg(long, value_enum)]
    only: Option<Side>,
    /// Prints one line of JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// How the bare service handles its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Handling {
    /// One after the other: the least there is to do, and enough for an echo, which waits for nothing.
    InTurn,
    /// Each in a task of its own, as handlers need that wait for something, and as the framework does it.
    InTasks,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Side {
    Framework,
    Bare,
}

#[derive(Debug, Serialize)]
struct Report {
    nsqd: String,
    body: usize,
    bare: Handling,
    slices: u32,
    slice_ms: u64,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    concurrency: u64,
    framework_calls_per_s: f64,
    bare_calls_per_s: f64,
    ratio_low: f64,
    ratio: f64,
    ratio_high: f64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let broker = reach(&args.nsqd).await?;
    let framework = Arc::new(FrameworkEcho::start(&broker.address, args.body).await?);
    let bare = Arc::new(BareEcho::start(&broker.address, args.body, args.bare).await?);
    let time = Duration::from_millis(args.slice_ms);

    let mut rows = Vec::with_capacity(args.concurrency.len());
    for &concurrency in &args.concurrency {
        let slice_of_framework = || {
            let echo = Arc::clone(&framework);
            slice(concurrency, time, move |_| {
                let echo = Arc::clone(&echo);
                async move { echo.call().await }
            })
        };
        let slice_of_bare = || {
            let echo = Arc::clone(&bare);
            slice(concurrency, time, move |_| {
                let echo = Arc::clone(&echo);
                async move { echo.call().await }
            })
        };
        let pairs = match args.only {
            None => Pairs::measure(args.slices as usize, slice_of_framework, slice_of_bare).await?,
            Some(Side::Framework) => {
                Pairs::measure(args.slices as usize, slice_of_framework, slice_of_framework).await?
            }
            Some(Side::Bare) => Pairs::measure(args.slices as usize, slice_of_bare, slice_of_bare).await?,
        };
        rows.push(row(concurrency, &pairs));
    }
    let unused = "a caller is still there";
    Arc::into_inner(bare).ok_or(unused)?.end().await;
    Arc::into_inner(framework).ok_or(unused)?.end().await?;

    let report = Report {
        nsqd: args.nsqd,
        body: args.body,
        bare: args.bare,
        slices: args.slices,
        slice_ms: args.slice_ms,
        rows,
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report.rows);
    }
    Ok(())
}

/// Calls per second in one slice.
async fn slice<F, C>(concurrency: u64, time: Duration, call: F) -> Result<f64, Failure>
where
    F: Fn(u64) -> C + Clone + Send + Sync + 'static,
    C: Future<Output = Result<(), Failure>> + Send,
{
    let bound = Bound {
        calls: u64::MAX,
        time,
    };
    Ok(load::run(concurrency, bound, call).await?.calls_per_s())
}

fn row(concurrency: u64, pairs: &Pairs) -> Row {
    let [ratio_low, ratio, ratio_high] = pairs.ratio().map(|ratio| (ratio * 1000.0).round() / 1000.0);
    Row {
        concurrency,
        framework_calls_per_s: pairs.one(),
        bare_calls_per_s: pairs.other(),
        ratio_low,
        ratio,
        ratio_high,
    }
}

fn print(rows: &[Row]) {
    println!(
        "| calls under way | framework, calls/s | bare client, calls/s | ratio, median | ratio, quartiles |"
    );
    println!("|---:|---:|---:|---:|---:|");
    for row in rows {
        println!(
            "| {} | {:.0} | {:.0} | {:.2} | {:.2} to {:.2} |",
            row.concurrency,
            row.framework_calls_per_s,
            row.bare_calls_per_s,
            row.ratio,
            row.ratio_low,
            row.ratio_high
        );
    }
}
