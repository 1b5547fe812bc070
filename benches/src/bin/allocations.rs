//! Heap allocations per echo call, on each side.
//!
//!     cargo run --release -p almanet-benches --bin allocations -- --concurrency 64 --calls 20000 --json
//!
//! Caller, service and broker have a thread and a runtime each, and the allocator counts by thread, so a call's costs
//! fall to the side that has them. `--nsqd ADDR` uses the nsqd there. Two of the allocations on each side are the
//! payload's own: the value that is written and the value that is read.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread,
};

use allocation_counter::{AllocationInfo, measure};
use almanet::{Broker, BrokerConfig};
use almanet_benches::{
    Failure,
    echo::{self, Carrier, WindowOption},
    load::{self, Bound},
};
use clap::Parser;
use serde::Serialize;
use serde_bytes::ByteBuf;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

const URI: &str = "bench.echo_counted";
/// What the first calls allocate and keep is not a cost of the others.
const WARM_UP: u64 = 5000;

/// Counts the allocations of echo calls.
#[derive(Debug, Parser)]
struct Args {
    /// The address of an nsqd, or `embedded` for a broker in this process.
    #[arg(long, default_value = "embedded")]
    nsqd: String,
    /// How many calls are under way at once.
    #[arg(long, default_value_t = 1)]
    concurrency: u64,
    /// How many calls are counted.
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
    caller_allocations_per_call: f64,
    caller_bytes_per_call: f64,
    service_allocations_per_call: f64,
    service_bytes_per_call: f64,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let (address, broker) = broker(&args)?;
    let service = CountedService::start(address.clone())?;
    let (caller, service) = call(&args, &address, service)?;
    drop(broker);

    let per_call = |count: u64| (count as f64 / args.calls as f64 * 100.0).round() / 100.0;
    let report = Report {
        nsqd: args.nsqd,
        concurrency: args.concurrency,
        calls: args.calls,
        body: args.body,
        caller_allocations_per_call: per_call(caller.count_total),
        caller_bytes_per_call: per_call(caller.bytes_total),
        service_allocations_per_call: per_call(service.count_total),
        service_bytes_per_call: per_call(service.bytes_total),
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report:#?}");
    }
    Ok(())
}

/// The broker's address; the embedded one lives as long as the sender.
fn broker(args: &Args) -> Result<(String, Option<oneshot::Sender<()>>), Failure> {
    if args.nsqd != "embedded" {
        return Ok((args.nsqd.clone(), None));
    }
    let (started, starting) = channel();
    let (stop, stopped) = oneshot::channel();
    thread::spawn(move || {
        runtime()?.block_on(async {
            let broker = Broker::start(BrokerConfig::default()).await?;
            started.send(broker.tcp_addr().to_string())?;
            // An error says that the other end is gone, which is how it ends.
            let _ = stopped.await;
            Ok::<_, Failure>(())
        })
    });
    Ok((starting.recv()?, Some(stop)))
}

/// The service on a thread of its own, which counts from the one signal to the other.
struct CountedService {
    count: oneshot::Sender<()>,
    stop: oneshot::Sender<()>,
    counted: Receiver<AllocationInfo>,
}

impl CountedService {
    fn start(address: String) -> Result<Self, Failure> {
        let (started, starting) = channel();
        let (report, counted) = channel();
        let (count, counting) = oneshot::channel::<()>();
        let (stop, stopping) = oneshot::channel::<()>();
        thread::spawn(move || {
            let runtime = runtime()?;
            let service = runtime.block_on(async {
                let session = Carrier::Native.connect(&address, WindowOption::default()).await?;
                echo::serve(&session, URI).await
            })?;
            started.send(())?;
            runtime.block_on(counting)?;
            let mut stopped = Ok(());
            let allocations = measure(|| stopped = runtime.block_on(stopping));
            report.send(allocations)?;
            runtime.block_on(service.stop());
            Ok::<_, Failure>(stopped?)
        });
        starting.recv()?;
        Ok(Self { count, stop, counted })
    }
}

/// Makes the calls on this thread, and returns what they allocated here and in the service.
fn call(
    args: &Args,
    address: &str,
    service: CountedService,
) -> Result<(AllocationInfo, AllocationInfo), Failure> {
    let runtime = runtime()?;
    let session = runtime.block_on(Carrier::Native.connect(address, WindowOption::default()))?;
    let body = Arc::new(ByteBuf::from(vec![b'x'; args.body]));
    let echo = {
        let session = session.clone();
        move |_| {
            let (session, body) = (session.clone(), Arc::clone(&body));
            async move { echo::call(&session, URI, &body).await }
        }
    };
    runtime.block_on(load::run(args.concurrency, Bound::calls(WARM_UP), echo.clone()))?;
    let gone = |()| "the service is gone";
    service.count.send(()).map_err(gone)?;
    let mut outcome = Ok(());
    let calling = measure(|| {
        outcome = runtime
            .block_on(load::run(args.concurrency, Bound::calls(args.calls), echo))
            .map(drop);
    });
    outcome?;
    service.stop.send(()).map_err(gone)?;
    let serving = service.counted.recv()?;
    runtime.block_on(session.leave())?;
    Ok((calling, serving))
}

fn runtime() -> Result<Runtime, Failure> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}
