//! Echo calls through the whole framework: caller, broker, service and back.
//!
//!     cargo run --release -p almanet-benches --bin rpc -- --nsqd embedded --concurrency 64 --calls 200000 --body 128 --json
//!
//! `--nsqd ADDR` uses the nsqd there. Caller and service share this process, and so does the embedded broker;
//! `--split` moves the service to a second process. `--transport tokio-nsq` uses that crate for both sides. A tenth of
//! the calls, at least a thousand, go before the measurement to warm up, for ten seconds at most.
//! Prints calls per second, latency quantiles, the CPU time of each process and the resident set of this one.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use almanet::{Broker, BrokerConfig, ServiceHandle, Session};
use almanet_benches::{
    Failure,
    child::{self, Role},
    echo::{self, Carrier, WindowOption},
    load::{self, Bound, Measured},
    usage::{CpuMeter, listener, resident_kib},
};
use clap::{Parser, ValueEnum};
use serde::Serialize;
use serde_bytes::ByteBuf;

/// After so many calls the resident set is read for the first time.
const SETTLED: u64 = 10_000;
/// A slow transport has warmed up by then too.
const LONGEST_WARM_UP: Duration = Duration::from_secs(10);

/// Measures echo calls.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd, or `embedded` for a broker in this process.
    #[arg(long, default_value = "embedded")]
    nsqd: String,
    /// What carries the sessions.
    #[arg(long, value_enum, default_value_t = Carrier::Native)]
    transport: Carrier,
    /// How many messages nsqd may send before it has answers: adaptive, fixed:N or unbuffered.
    #[arg(long, default_value_t = WindowOption::default())]
    window: WindowOption,
    /// Runs the service in a process of its own.
    #[arg(long)]
    split: bool,
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
    /// Serves the echo under this name until the input ends; what `--split` starts.
    #[arg(long, hide = true)]
    serve: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    nsqd: String,
    transport: Carrier,
    window: String,
    split: bool,
    concurrency: u64,
    calls: u64,
    body: usize,
    calls_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    /// User and system time per call: of this process (caller, and whatever else shares it), of the service's process
    /// and of nsqd's. Absent where there is no such process, or it cannot be seen.
    cpu_us_per_call: Option<f64>,
    service_cpu_us_per_call: Option<f64>,
    nsqd_cpu_us_per_call: Option<f64>,
    /// The resident set after 10,000 calls and at the end; absent where the system does not tell.
    rss_settled_kib: Option<u64>,
    rss_end_kib: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    if let Some(uri) = &args.serve {
        return serve(&args, uri).await;
    }
    let (embedded, address) = if args.nsqd == "embedded" {
        let broker = Broker::start(BrokerConfig::default()).await?;
        let address = broker.tcp_addr().to_string();
        (Some(broker), address)
    } else {
        (None, args.nsqd.clone())
    };
    let calling = args.transport.connect(&address, args.window).await?;
    let uri = format!("bench.echo_{}", calling.id());
    let callee = Callee::start(&args, &address, &uri).await?;
    let nsqd = match embedded {
        Some(_) => None,
        None => tokio::net::lookup_host(&address).await?.find_map(listener),
    };

    let warm_up = Bound {
        calls: (args.calls / 10).max(1000),
        time: LONGEST_WARM_UP,
    };
    run(&calling, &uri, &args, warm_up).await?;
    let meters = [Some(process::id()), callee.pid(), nsqd].map(|pid| pid.map(CpuMeter::start));
    let (measured, rss_settled_kib) = run(&calling, &uri, &args, Bound::calls(args.calls)).await?;
    let cpu = meters.map(|meter| meter?.us_per_call(measured.calls()));
    report(args, &measured, cpu, rss_settled_kib)?;

    callee.end().await?;
    calling.leave().await?;
    Ok(())
}

/// The service, here or in another process.
enum Callee {
    Here(ServiceHandle, Session),
    There(Role),
}

impl Callee {
    async fn start(args: &Args, address: &str, uri: &str) -> Result<Self, Failure> {
        if args.split {
            let transport = args.transport.to_possible_value().ok_or("no such transport")?;
            let window = args.window.to_string();
            let arguments = [
                "--serve",
                uri,
                "--nsqd",
                address,
                "--transport",
                transport.get_name(),
                "--window",
                &window,
            ];
            return Ok(Self::There(Role::start(arguments).await?));
        }
        let session = args.transport.connect(address, args.window).await?;
        Ok(Self::Here(echo::serve(&session, uri).await?, session))
    }

    fn pid(&self) -> Option<u32> {
        match self {
            Self::Here(..) => None,
            Self::There(role) => role.pid(),
        }
    }

    async fn end(self) -> Result<(), Failure> {
        match self {
            Self::Here(service, session) => {
                service.stop().await;
                session.leave().await?;
            }
            Self::There(role) => role.end().await?,
        }
        Ok(())
    }
}

/// What the second process does.
async fn serve(args: &Args, uri: &str) -> Result<(), Failure> {
    let session = args.transport.connect(&args.nsqd, args.window).await?;
    let service = echo::serve(&session, uri).await?;
    child::ready(uri).await?;
    service.stop().await;
    Ok(session.leave().await?)
}

/// Makes the calls; also the resident set once the number of calls has settled it.
async fn run(
    session: &Session,
    uri: &str,
    args: &Args,
    bound: Bound,
) -> Result<(Measured, Option<u64>), Failure> {
    let rss_settled = Arc::new(AtomicU64::new(0));
    let body = Arc::new(ByteBuf::from(vec![b'x'; args.body]));
    let call = {
        let (session, uri, rss_settled) = (session.clone(), Arc::<str>::from(uri), Arc::clone(&rss_settled));
        move |number| {
            let (session, uri, body) = (session.clone(), Arc::clone(&uri), Arc::clone(&body));
            if number == SETTLED {
                rss_settled.store(resident_kib().unwrap_or(0), Ordering::Relaxed);
            }
            async move { echo::call(&session, &uri, &body).await }
        }
    };
    let measured = load::run(args.concurrency, bound, call).await?;
    let rss_settled = rss_settled.load(Ordering::Relaxed);
    Ok((measured, Some(rss_settled).filter(|rss| *rss > 0)))
}

fn report(
    args: Args,
    measured: &Measured,
    cpu: [Option<f64>; 3],
    rss_settled_kib: Option<u64>,
) -> Result<(), Failure> {
    let [cpu_us_per_call, service_cpu_us_per_call, nsqd_cpu_us_per_call] = cpu;
    let report = Report {
        nsqd: args.nsqd,
        transport: args.transport,
        window: args.window.to_string(),
        split: args.split,
        concurrency: args.concurrency,
        calls: measured.calls(),
        body: args.body,
        calls_per_s: measured.calls_per_s(),
        p50_us: measured.quantile_us(0.5),
        p99_us: measured.quantile_us(0.99),
        max_us: measured.latencies.max() as f64 / 1000.0,
        cpu_us_per_call,
        service_cpu_us_per_call,
        nsqd_cpu_us_per_call,
        rss_settled_kib,
        rss_end_kib: resident_kib(),
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report:#?}");
    }
    Ok(())
}
