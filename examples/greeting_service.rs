//! A service in a process of its own; `greeting_caller` calls it.
//!
//!     cargo run -p almanet-broker                 # or an nsqd
//!     cargo run --example greeting_service
//!
//! `ALMANET_NSQD=host:port,host:port` names the brokers; without it, 127.0.0.1:4150. SIGINT and SIGTERM drain it.

use std::process::ExitCode;

use almanet::{Context, RpcError, service};
use serde::{Deserialize, Serialize};

/// Whom to greet, and how.
#[derive(Debug, Serialize, Deserialize)]
pub struct Greeting {
    name: String,
    #[serde(default)]
    shout: bool,
}

/// Why somebody is not greeted.
#[derive(Debug, thiserror::Error, RpcError)]
pub enum GreetError {
    /// The name is on the list.
    #[error("{name} is not welcome here")]
    Denied {
        /// Who it is.
        name: String,
    },
}

/// Greets people.
#[service(prepath = "net.example.greetings")]
mod greetings {
    use super::{Context, GreetError, Greeting};

    /// Greets a person.
    #[procedure(idempotent)]
    pub async fn greet(context: Context, greeting: Greeting) -> Result<String, GreetError> {
        let Greeting { name, shout } = greeting;
        println!("{} asks to greet {name}", context.caller_id());
        if name == "Bob" {
            return Err(GreetError::Denied { name });
        }
        let text = format!("Hello, {name}!");
        Ok(if shout { text.to_uppercase() } else { text })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter("info")
        .with_writer(std::io::stderr)
        .init();
    let addresses = std::env::var("ALMANET_NSQD").unwrap_or_else(|_| "127.0.0.1:4150".to_owned());
    match greetings::service().serve(addresses).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("greeting_service: {error}");
            ExitCode::FAILURE
        }
    }
}
