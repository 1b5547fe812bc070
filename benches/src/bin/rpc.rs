//! Echo calls through the whole framework: caller, broker, service and back, in one process.
//!
//!     cargo run --release -p almanet-benches --bin rpc -- --nsqd embedded --concurrency 64 --calls 200000 --body 128 --json
//!
//! `--nsqd ADDR` uses the nsqd there; caller and service still share this process. A tenth of the calls, at least a
//! thousand, go before the measurement to warm up. Prints calls per second, latency quantiles and the resident set.

use std::{
    convert::Infallible,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use almanet::{Broker, BrokerConfig, Context, Procedure, Service, Session};
use clap::Parser;
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_bytes::ByteBuf;

/// After so many calls the resident set is read for the first time.
const SETTLED: u64 = 10_000;

/// Measures echo calls.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd, or `embedded` for a broker in this process.
    #[arg(long, default_value = "embedded")]
    nsqd: String,
    /// How many calls are under way at once.
    #[arg(long, default_value_t = 1)]
    concurrency: u64,
    /// How many calls are measured.
    #[arg(long, default_value_t = 20_000)]
    calls: u64,
    /// The size of the payload in bytes.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// Prints one line of JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    nsqd: String,
    concurrency: u64,
    calls: u64,
    body: usize,
    calls_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    /// The resident set after 10,000 calls and at the end; absent where the system does not tell.
    rss_settled_kib: Option<u64>,
    rss_end_kib: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let (_broker, address) = if args.nsqd == "embedded" {
        let broker = Broker::start(BrokerConfig::default()).await?;
        let address = broker.tcp_addr().to_string();
        (Some(broker), address)
    } else {
        (None, args.nsqd.clone())
    };
    let (serving, calling) = (
        Session::connect(&address).await?,
        Session::connect(&address).await?,
    );
    let uri = format!("bench.echo_{}", calling.id());
    let echo = Procedure::new(&uri, |_: Context, body: ByteBuf| async move {
        Ok::<_, Infallible>(body)
    });
    let service = Service::new()
        .procedure(echo.concurrency(2500))
        .start(&serving)
        .await?;

    run(&calling, &uri, &args, (args.calls / 10).max(1000)).await?;
    let measured = run(&calling, &uri, &args, args.calls).await?;
    report(args, measured)?;

    service.stop().await;
    calling.leave().await?;
    serving.leave().await?;
    Ok(())
}

struct Measured {
    elapsed: Duration,
    latencies: Histogram<u64>,
    rss_settled: Option<u64>,
}

/// Makes `calls` calls, `concurrency` at a time.
async fn run(session: &Session, uri: &str, args: &Args, calls: u64) -> Result<Measured, Box<dyn Error>> {
    let left = Arc::new(AtomicU64::new(calls));
    let rss_settled = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let callers: Vec<_> = (0..args.concurrency.min(calls))
        .map(|_| {
            let (session, uri, body) = (
                session.clone(),
                uri.to_owned(),
                ByteBuf::from(vec![b'x'; args.body]),
            );
            let (left, rss_settled) = (Arc::clone(&left), Arc::clone(&rss_settled));
            tokio::spawn(async move {
                let mut latencies = histogram();
                while let Ok(before) =
                    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                {
                    if calls - before == SETTLED {
                        rss_settled.store(resident_kib().unwrap_or(0), Ordering::Relaxed);
                    }
                    let called = Instant::now();
                    let echoed: ByteBuf = session
                        .call(&uri, &body)
                        .await
                        .map_err(|error| error.to_string())?;
                    let nanos = u64::try_from(called.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    latencies.saturating_record(nanos.max(1));
                    if echoed != body {
                        return Err("the echo is not what was sent".to_owned());
                    }
                }
                Ok::<_, String>(latencies)
            })
        })
        .collect();

    let mut latencies = histogram();
    for caller in callers {
        latencies.add(caller.await??)?;
    }
    let rss_settled = Some(rss_settled.load(Ordering::Relaxed)).filter(|rss| *rss > 0);
    Ok(Measured {
        elapsed: started.elapsed(),
        latencies,
        rss_settled,
    })
}

/// Nanoseconds up to a minute, to one part in a hundred: small, because each caller has one.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("the bounds are in order")
}

fn report(args: Args, measured: Measured) -> Result<(), Box<dyn Error>> {
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    let report = Report {
        nsqd: args.nsqd,
        concurrency: args.concurrency,
        calls: args.calls,
        body: args.body,
        calls_per_s: (args.calls as f64 / measured.elapsed.as_secs_f64()).round(),
        p50_us: micros(measured.latencies.value_at_quantile(0.5)),
        p99_us: micros(measured.latencies.value_at_quantile(0.99)),
        max_us: micros(measured.latencies.max()),
        rss_settled_kib: measured.rss_settled,
        rss_end_kib: resident_kib(),
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report:#?}");
    }
    Ok(())
}

/// The resident set of this process, where the system tells it as Linux does.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
