//! `almanet-broker`: the broker as a program, with nsqd's flags.

mod absent;
mod args;
mod flags;
mod go_duration;
mod logging;
mod security;
mod value;

use std::{
    error::Error,
    io::{self, Write},
    iter,
    process::ExitCode,
};

use almanet_broker::Broker;

use crate::args::Args;

fn main() -> ExitCode {
    run()
}

fn run() -> ExitCode {
    let args = match Args::from_command_line(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to the standard output, mistakes to the standard error; a closed pipe is nobody's.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    logging::start(args.log_level);

    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes = iter::successors(error.source(), |&cause| cause.source());
            let causes: String = causes.map(|cause| format!(": {cause}")).collect();
            let _ = writeln!(io::stderr(), "almanet-broker: {error}{causes}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(args: Args) -> Result<(), Box<dyn Error>> {
    let signal = stop_signal()?;
    let config = args.security.apply(args.config)?;
    let is_kept = config.keeps_messages();
    let broker = Broker::start(config).await?;
    if !is_kept {
        tracing::info!(
            "without --data-path, messages are kept in memory only: what is not consumed is lost when this program ends"
        );
    }
    signal.await;
    tracing::info!("stopping");
    broker.stop().await?;
    Ok(())
}

/// Resolves at SIGINT or SIGTERM.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves at Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
