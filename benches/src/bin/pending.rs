//! What calls that wait for an answer take in memory, and what is left of it when they are given up.
//!
//!     cargo run --release -p almanet-benches --bin pending -- --calls 100000 --json
//!
//! The calls are tasks of this process, to a procedure that nobody serves; the broker has a process of its own. All run
//! on one thread, whose allocator counts. The heap is what is allocated and not freed; the resident set is what the
//! system has given, of which freed memory may stay with the allocator.

use allocation_counter::measure;
use almanet::Session;
use almanet_benches::{
    Failure,
    child::{self, Role},
    usage::resident_kib,
};
use clap::Parser;
use serde::Serialize;
use serde_bytes::ByteBuf;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

/// Measures the memory of calls that wait.
#[derive(Debug, Parser)]
struct Args {
    /// How many calls wait.
    #[arg(long, default_value_t = 100_000)]
    calls: usize,
    /// The size of each call's payload in bytes.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// Prints one line of JSON instead of text.
    #[arg(long)]
    json: bool,
    /// Runs a broker until the input ends; what this program starts.
    #[arg(long, hide = true)]
    broker: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    calls: usize,
    body: usize,
    heap_bytes_while_pending: i64,
    heap_bytes_per_call: i64,
    heap_bytes_after_cancelling: i64,
    resident_kib_before: Option<u64>,
    resident_kib_while_pending: Option<u64>,
    resident_kib_after_cancelling: Option<u64>,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    if args.broker {
        return runtime.block_on(child::broker());
    }
    let broker = runtime.block_on(Role::start(["--broker"]))?;
    let session = runtime.block_on(Session::connect(broker.said()))?;
    // The first call has the session listen for answers, which is not a cost of the others.
    let waiting = make(&runtime, &session, 1, args.body)?;
    cancel(&runtime, &session, waiting)?;

    let before = resident_kib();
    let mut outcome = Ok(JoinSet::new());
    let made = measure(|| outcome = make(&runtime, &session, args.calls, args.body));
    let waiting = outcome?;
    let pending = resident_kib();
    let mut outcome = Ok(());
    let given_up = measure(|| outcome = cancel(&runtime, &session, waiting));
    outcome?;
    let report = Report {
        calls: args.calls,
        body: args.body,
        heap_bytes_while_pending: made.bytes_current,
        heap_bytes_per_call: made.bytes_current / i64::try_from(args.calls.max(1))?,
        heap_bytes_after_cancelling: made.bytes_current + given_up.bytes_current,
        resident_kib_before: before,
        resident_kib_while_pending: pending,
        resident_kib_after_cancelling: resident_kib(),
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report:#?}");
    }
    runtime.block_on(session.leave())?;
    runtime.block_on(broker.end())
}

/// Makes calls that nobody answers; returns when the broker has all of them.
fn make(runtime: &Runtime, session: &Session, calls: usize, body: usize) -> Result<JoinSet<()>, Failure> {
    let body = ByteBuf::from(vec![b'x'; body]);
    runtime.block_on(async {
        let mut waiting = JoinSet::new();
        for _ in 0..calls {
            let call = session.call::<()>("bench.nobody", &body).into_future();
            waiting.spawn(async move { drop(call.await) });
        }
        // Tasks begin in turn, and the broker confirms in turn what one connection publishes.
        let last = {
            let session = session.clone();
            tokio::spawn(async move { session.produce("bench.last", &()).await })
        };
        last.await??;
        Ok(waiting)
    })
}

/// Gives all of them up; returns when nothing of them is left.
fn cancel(runtime: &Runtime, session: &Session, mut waiting: JoinSet<()>) -> Result<(), Failure> {
    runtime.block_on(async {
        waiting.shutdown().await;
        drop(waiting);
        session.produce("bench.last", &()).await?;
        Ok(())
    })
}
