//! What services cost a process: how long they take to start, and their connections and memory, against the number of
//! procedures, of services and of nodes.
//!
//!     cargo run --release -p almanet-benches --bin services -- --json
//!     cargo run --release -p almanet-benches --bin services -- --nsqd 127.0.0.1:4150,127.0.0.1:4152 --nodes 1,2
//!
//! Each row is a process of its own with one thread, whose allocator counts. Without `--nsqd` there are embedded brokers, each in
//! a process of its own too. A start is over when all subscriptions are confirmed, on every node. Both the process and the
//! brokers need a file descriptor for each connection: see `ulimit -n`.

use std::time::Instant;

use allocation_counter::measure;
use almanet::{Context, Procedure, Service, ServiceHandle, Session};
use almanet_benches::{
    Failure,
    child::{self, Role},
    usage::{resident_kib, sockets},
};
use clap::Parser;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

/// Services that start at the same time.
const TOGETHER: usize = 32;

/// Measures what services cost.
#[derive(Debug, Parser)]
struct Args {
    /// The addresses of several nsqd, separated by commas; embedded brokers where there are none.
    #[arg(long, value_delimiter = ',')]
    nsqd: Vec<String>,
    /// Numbers of nodes.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4])]
    nodes: Vec<usize>,
    /// Numbers of procedures, of one service.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 200])]
    procedures: Vec<usize>,
    /// Numbers of services with one procedure each, on one node: in one session, and in a session for each.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000])]
    services: Vec<usize>,
    /// Prints one line of JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Runs a broker until the input ends; what this program starts.
    #[arg(long, hide = true)]
    broker: bool,
    /// Starts services until the input ends; what this program starts.
    #[arg(long, hide = true)]
    load: Option<String>,
}

/// What a process does.
#[derive(Debug, Serialize, Deserialize)]
struct Load {
    nodes: Vec<String>,
    services: usize,
    procedures_of_each: usize,
    sessions: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Cost {
    start_ms: f64,
    connections: i64,
    heap_bytes: i64,
    resident_kib: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Row {
    nodes: usize,
    services: usize,
    procedures_of_each: usize,
    sessions: usize,
    #[serde(flatten)]
    cost: Cost,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    if args.broker {
        return runtime.block_on(child::broker());
    }
    if let Some(load) = &args.load {
        return carry(&runtime, &serde_json::from_str(load)?);
    }
    runtime.block_on(compare(&args))
}

/// Measures each load in a process of its own.
async fn compare(args: &Args) -> Result<(), Failure> {
    let mut brokers = Vec::new();
    let mut nodes = args.nsqd.clone();
    if nodes.is_empty() {
        for _ in 0..args.nodes.iter().copied().max().unwrap_or(1) {
            let broker = Role::start(["--broker"]).await?;
            nodes.push(broker.said().to_owned());
            brokers.push(broker);
        }
    }
    let on = |count: usize| nodes.get(..count).ok_or("there are not so many nodes");
    let mut loads = Vec::new();
    for &count in &args.nodes {
        for &procedures_of_each in &args.procedures {
            let nodes = on(count)?.to_vec();
            let (services, sessions) = (1, 1);
            loads.push(Load {
                nodes,
                services,
                procedures_of_each,
                sessions,
            });
        }
    }
    for &services in &args.services {
        for sessions in [1, services] {
            let (nodes, procedures_of_each) = (on(1)?.to_vec(), 1);
            loads.push(Load {
                nodes,
                services,
                procedures_of_each,
                sessions,
            });
        }
    }

    let mut rows = Vec::with_capacity(loads.len());
    for load in loads {
        let process = Role::start(["--load", &serde_json::to_string(&load)?]).await?;
        rows.push(Row {
            cost: serde_json::from_str(process.said())?,
            nodes: load.nodes.len(),
            services: load.services,
            procedures_of_each: load.procedures_of_each,
            sessions: load.sessions,
        });
        process.end().await?;
    }
    for broker in brokers {
        broker.end().await?;
    }
    report(args, &rows)
}

/// Starts the services and says what they cost.
fn carry(runtime: &Runtime, load: &Load) -> Result<(), Failure> {
    let before = sockets().unwrap_or_default();
    let begun = Instant::now();
    let mut outcome = Err("nothing was started".into());
    let allocated = measure(|| outcome = runtime.block_on(start(load)));
    let start_ms = (begun.elapsed().as_secs_f64() * 1e4).round() / 10.0;
    let _running = outcome?;
    let cost = Cost {
        start_ms,
        connections: i64::try_from(sockets().unwrap_or_default())? - i64::try_from(before)?,
        heap_bytes: allocated.bytes_current,
        resident_kib: resident_kib(),
    };
    runtime.block_on(child::ready(&serde_json::to_string(&cost)?))
}

async fn start(load: &Load) -> Result<Vec<(Session, ServiceHandle)>, Failure> {
    let addresses = load.nodes.join(",");
    let sessions: Vec<Session> = stream::iter(0..load.sessions)
        .map(|_| Session::connect(&addresses))
        .buffered(TOGETHER)
        .try_collect()
        .await?;
    let services = (0..load.services).zip(sessions.iter().cycle());
    let starting = services.map(|(number, session)| async move {
        let handle = service(number, load.procedures_of_each).start(session).await?;
        Ok::<_, Failure>((session.clone(), handle))
    });
    stream::iter(starting).buffered(TOGETHER).try_collect().await
}

fn service(number: usize, procedures: usize) -> Service {
    let service = Service::new().name(format!("bench.service_{number}"));
    (0..procedures).fold(service, |service, procedure| {
        let uri = format!("bench.services.s{number}.p{procedure}");
        service.procedure(Procedure::new(uri, |_: Context, value: u64| async move {
            Ok::<_, std::convert::Infallible>(value)
        }))
    })
}

fn report(args: &Args, rows: &[Row]) -> Result<(), Failure> {
    if args.json {
        println!("{}", serde_json::to_string(rows)?);
        return Ok(());
    }
    println!(
        "| nodes | services | procedures of each | sessions | start, ms | connections | heap, KiB | resident, KiB |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    for Row {
        nodes,
        services,
        procedures_of_each,
        sessions,
        cost,
    } in rows
    {
        let resident = cost.resident_kib.map_or("-".to_owned(), |kib| kib.to_string());
        println!(
            "| {nodes} | {services} | {procedures_of_each} | {sessions} | {:.0} | {} | {} | {resident} |",
            cost.start_ms,
            cost.connections,
            cost.heap_bytes / 1024,
        );
    }
    Ok(())
}
