//! What calls that wait for an answer take in memory, and what is left of it when they are given up.
//!
//!     cargo run --release -p almanet-benches --bin pending -- --calls 100000 --json
//!
//! The calls are made by this process, to a procedure that nobody serves; the broker has a process of its own. All run
//! on one thread, whose allocator counts. The heap is what is allocated and not freed; the resident set is what the
//! system has given, of which freed memory may stay with the allocator.
//!
//! Each call is a task, and its memory counts too; `--in-one-task` keeps the calls in one task instead, which leaves what
//! they take themselves. `heap_bytes_at_most` is the peak, while all of them are still being published.

use std::{future::IntoFuture, time::Duration};

use allocation_counter::measure;
use almanet::Session;
use almanet_benches::{
    Failure,
    child::{self, Role},
    usage::resident_kib,
};
use clap::Parser;
use futures_util::future::poll_immediate;
use serde::Serialize;
use serde_bytes::ByteBuf;
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, unconstrained},
    time::sleep,
};

const SETTLING: Duration = Duration::from_millis(500);

/// Measures the memory of calls that wait.
#[derive(Debug, Parser)]
struct Args {
    /// How many calls wait.
    #[arg(long, default_value_t = 100_000)]
    calls: usize,
    /// The size of each call's payload in bytes.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// Keeps the calls in one task, instead of a task for each.
    #[arg(long)]
    in_one_task: bool,
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
    in_one_task: bool,
    heap_bytes_at_most: u64,
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
    let waiting = make(&runtime, &session, &Args { calls: 1, ..args })?;
    cancel(&runtime, &session, waiting)?;

    let before = resident_kib();
    let mut outcome = Ok(JoinSet::new());
    let made = measure(|| outcome = make(&runtime, &session, &args));
    let waiting = outcome?;
    let pending = resident_kib();
    let mut outcome = Ok(());
    let given_up = measure(|| outcome = cancel(&runtime, &session, waiting));
    outcome?;
    let report = Report {
        calls: args.calls,
        body: args.body,
        in_one_task: args.in_one_task,
        heap_bytes_at_most: made.bytes_max,
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
fn make(runtime: &Runtime, session: &Session, args: &Args) -> Result<JoinSet<()>, Failure> {
    let body = ByteBuf::from(vec![b'x'; args.body]);
    runtime.block_on(async {
        let mut waiting = JoinSet::new();
        let calls = (0..args.calls).map(|_| session.call::<()>("bench.nobody", &body).into_future());
        if args.in_one_task {
            let mut calls: Vec<_> = calls.collect();
            // Tokio would have each turn of the task look at a few of them only.
            waiting.spawn(unconstrained(async move {
                // Nobody answers: what it looks for are the confirmations.
                loop {
                    for call in &mut calls {
                        drop(poll_immediate(call).await);
                    }
                    sleep(SETTLING / 5).await;
                }
            }));
        } else {
            for call in calls {
                waiting.spawn(async move { drop(call.await) });
            }
        }
        // Tasks begin in turn, and the broker confirms in turn what one connection publishes to one topic.
        let last = {
            let session = session.clone();
            tokio::spawn(async move { session.produce("_rpc_.bench.nobody", &()).await })
        };
        last.await??;
        // Nothing tells when the calls have seen their confirmations.
        sleep(SETTLING).await;
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
