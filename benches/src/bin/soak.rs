//! Ten minutes of load on an embedded broker with a data path, whose clients are killed and which is restarted at random
//! moments, and whether anything that was confirmed was lost.
//!
//!     cargo run --release -p almanet-benches --bin soak -- --minutes 10
//!
//! It ends with exit code 1 when a confirmed message was not consumed on every channel, when a message was delivered as
//! if it were two, or when nothing goes on any more. `--seed` repeats the kills and the restarts of another run, though
//! not the moments at which the messages meet them.

use std::{process::ExitCode, time::Duration};

use almanet_benches::Failure;
use almanet_tests::soak::{Plan, run};
use clap::Parser;

/// Publishes, consumes, kills and restarts, and balances the books.
#[derive(Debug, Parser)]
struct Args {
    /// For how many minutes.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// About how many messages a second.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// The mean time from one kill to the next, in milliseconds.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..))]
    kill_every: u64,
    /// The mean time from one restart to the next, in milliseconds.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    restart_every: u64,
    /// What the random choices follow from; another one each time unless it is given.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let args = Args::parse();
    let directory = tempfile::tempdir()?;
    let plan = Plan {
        seed: args.seed.unwrap_or_else(|| fastrand::u64(..)),
        duration: Duration::try_from_secs_f64(args.minutes * 60.0)?,
        rate: args.rate,
        kill_every: Duration::from_millis(args.kill_every),
        restart_every: Duration::from_millis(args.restart_every),
        data_path: directory.path().to_owned(),
    };
    println!("seed {}", plan.seed);
    let counts = run(&plan, |counts| {
        if counts.restarts % 10 == 0 {
            println!("so far: {counts}");
        }
    })
    .await?;
    println!("in the end: {counts}");
    if counts.is_well() {
        println!("nothing confirmed was lost");
        Ok(ExitCode::SUCCESS)
    } else {
        println!("the books do not balance");
        Ok(ExitCode::FAILURE)
    }
}
