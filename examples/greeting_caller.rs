//! Calls the service of `greeting_service`, which can run in another process or on another machine.
//!
//!     cargo run --example greeting_caller -- Aidar Sara Bob
//!
//! `ALMANET_NSQD=host:port,host:port` names the brokers; without it, 127.0.0.1:4150.

use std::{process::ExitCode, time::Duration};

use almanet::{CallError, RpcError, Session};
use serde::Serialize;

/// The payload as this program knows it: the service takes fields that are missing as their defaults.
#[derive(Serialize)]
struct Greeting {
    name: String,
}

/// The errors of the service that this program can tell apart.
#[derive(Debug, thiserror::Error, RpcError)]
enum GreetError {
    #[error("{name} is not welcome here")]
    Denied { name: String },
}

#[tokio::main]
async fn main() -> ExitCode {
    let addresses = std::env::var("ALMANET_NSQD").unwrap_or_else(|_| "127.0.0.1:4150".to_owned());
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() {
        names.push("Aidar".to_owned());
    }
    match greet_all(&addresses, names).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("greeting_caller: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn greet_all(addresses: &str, names: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
    let session = Session::connect(addresses).await?;
    for name in names {
        let call = session
            .call::<String>("net.example.greetings.greet", &Greeting { name })
            .timeout(Duration::from_secs(5))
            .expecting::<GreetError>();
        match call.await {
            Ok(greeting) => println!("{greeting}"),
            Err(CallError::Remote(GreetError::Denied { name })) => println!("({name} is denied)"),
            Err(other) => return Err(other.into()),
        }
    }
    session.leave().await?;
    Ok(())
}
