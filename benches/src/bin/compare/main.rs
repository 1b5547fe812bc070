//! Echo calls by Almanet and by its peers, in turn and in one run: a table, and a JSON file.
//!
//!     cargo run --release -p almanet-benches --bin compare -- --nsqd 127.0.0.1:4150 --output compare.json
//!
//! Each peer has its broker in one process, and caller and service in another, which is this one; a row with the
//! embedded broker in this process too comes first. Without `--nsqd` the peers that need one are left out, and without
//! a `nats-server` so is NATS. Each cell is measured for `--seconds`, after a short warm-up. `--rounds` repeats all of
//! it and keeps the fastest of each cell, which is the one that other programs on the machine disturbed least.
//!
//!     cargo run --release -p almanet-benches --bin compare -- --nsqd 127.0.0.1:4150 --slices 40
//!
//! With `--slices` it compares nothing but the round trip of a lone call, over that nsqd and over NATS, in so many pairs of
//! neighbouring slices of `--slice-ms`: see [`lone`].

mod almanet;
mod lone;
mod nats;
mod peer;
mod table;

use std::{path::PathBuf, process, time::Duration};

use almanet_benches::{
    Failure, child,
    load::Bound,
    usage::{CpuMeter, load_average},
};
use bytes::Bytes;
use clap::Parser;

use crate::{
    peer::{Peer, Running},
    table::{Comparison, Row, Skipped},
};

const CONCURRENCIES: [u64; 5] = [1, 16, 64, 256, 1024];
const WARM_UP: Duration = Duration::from_millis(400);

/// Compares echo calls by Almanet and by its peers.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd; on this machine, so that its CPU time can be seen.
    #[arg(long)]
    nsqd: Option<String>,
    /// The program nats-server, by name on PATH or by its path.
    #[arg(long, default_value = "nats-server")]
    nats_server: PathBuf,
    /// The size of the payload in bytes.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// How many seconds each cell is measured.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How often all is measured.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Compares a lone call's round trip over nsqd with NATS's instead, in so many pairs of slices.
    #[arg(long, requires = "nsqd", value_parser = clap::value_parser!(u32).range(1..))]
    slices: Option<u32>,
    /// How long a slice takes, in milliseconds.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..))]
    slice_ms: u64,
    /// Where the JSON file goes.
    #[arg(long, default_value = "compare.json")]
    output: PathBuf,
    /// Runs the embedded broker until the input ends; what this program starts itself as.
    #[arg(long, hide = true)]
    broker: bool,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    if args.broker {
        return child::broker().await;
    }
    if let (Some(slices), Some(nsqd)) = (args.slices, &args.nsqd) {
        let slice = Duration::from_millis(args.slice_ms);
        return lone::compare(nsqd, &args.nats_server, args.body, slices, slice).await;
    }
    let cell_time = Duration::try_from_secs_f64(args.seconds)?;
    let mut comparison = Comparison::new(args.body, args.seconds, args.rounds);
    for round in 1..=args.rounds {
        for peer in Peer::all(args.nsqd.as_deref(), &args.nats_server) {
            eprintln!("round {round} of {}: {}", args.rounds, peer.name());
            let rows = measure(&peer, args.body, cell_time).await;
            match rows {
                Ok(rows) => rows.into_iter().for_each(|row| comparison.add(row)),
                Err(error) => comparison.skip(Skipped {
                    peer: peer.name(),
                    reason: error.to_string(),
                }),
            }
        }
    }
    if args.nsqd.is_none() {
        eprintln!("no --nsqd: the peers that need one are left out");
    }
    comparison.end(load_average());
    print!("{comparison}");
    std::fs::write(&args.output, serde_json::to_vec_pretty(&comparison)?)?;
    eprintln!("written to {}", args.output.display());
    Ok(())
}

async fn measure(peer: &Peer, body: usize, time: Duration) -> Result<Vec<Row>, Failure> {
    let running = Running::start(peer).await?;
    let body = Bytes::from(vec![b'x'; body]);
    let mut rows = Vec::new();
    for concurrency in CONCURRENCIES {
        let bound = |time| Bound {
            calls: u64::MAX,
            time,
        };
        running.call(concurrency, bound(WARM_UP.min(time)), &body).await?;
        let here = CpuMeter::start(process::id());
        let broker = running.broker_pid().map(CpuMeter::start);
        let measured = running.call(concurrency, bound(time), &body).await?;
        let calls = measured.calls();
        rows.push(Row {
            peer: peer.name(),
            concurrency,
            calls,
            calls_per_s: measured.calls_per_s(),
            p50_us: measured.quantile_us(0.5),
            p99_us: measured.quantile_us(0.99),
            cpu_us_per_call: here.us_per_call(calls),
            broker_cpu_us_per_call: broker.and_then(|broker| broker.us_per_call(calls)),
        });
    }
    running.end().await?;
    Ok(rows)
}
