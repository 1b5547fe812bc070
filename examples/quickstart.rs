//! The whole of Almanet in one process: a broker, a service, calls, a typed error, a timeout, an event.
//!
//!     cargo run --example quickstart
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded broker.

use std::{error::Error, time::Duration};

use almanet::{Broker, BrokerConfig, CallError, Event, RpcError, Session, service};
use serde::{Deserialize, Serialize};

/// Why somebody is not greeted. Callers match it by type, in whatever process they are.
#[derive(Debug, thiserror::Error, RpcError)]
enum GreetError {
    #[error("{name} is not welcome: {reason}")]
    Denied { name: String, reason: String },
}

/// Greetings and sums.
#[service(prepath = "net.example")]
mod example {
    use super::{GreetError, UserJoined};
    use almanet::Context;

    /// Greets a person by name, and tells everybody that they joined.
    #[procedure]
    pub async fn greet(context: Context, name: String) -> Result<String, GreetError> {
        if name == "Bob" {
            return Err(GreetError::Denied {
                name,
                reason: "he ate all the cake".to_owned(),
            });
        }
        let joined = UserJoined { name: name.clone() };
        if let Err(error) = context.session().emit(&joined).await {
            eprintln!("nobody learns that {name} joined: {error}");
        }
        Ok(format!("Hello, {name}!"))
    }

    /// Adds two numbers.
    #[procedure]
    pub async fn add(left: i64, right: i64) -> i64 {
        left + right
    }
}

/// Somebody was greeted.
#[derive(Debug, Serialize, Deserialize, Event)]
#[event(topic = "net.example.joined")]
struct UserJoined {
    name: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter("warn")
        .with_writer(std::io::stderr)
        .init();

    // An nsqd if one is named, else a broker inside this program.
    let (_broker, address) = match std::env::var("ALMANET_NSQD") {
        Ok(address) => (None, address),
        Err(_) => {
            let broker = Broker::start(BrokerConfig::default()).await?;
            let address = broker.tcp_addr().to_string();
            (Some(broker), address)
        }
    };
    println!("broker      {address}");

    let session = Session::connect(&address).await?;
    let service = example::service().start(&session).await?;
    println!("service     net.example.greet and net.example.add are served");

    let mut joined = session.consume::<UserJoined>("quickstart").await?;

    let greeting = example::greet::call(&session, "Aidar".into()).await?;
    println!("typed call  greet(\"Aidar\") = {greeting:?}");

    let sum = example::add::call(&session, 2, 3).await?;
    println!("typed call  add(2, 3) = {sum}");

    let greeting: String = session.call("net.example.greet", "Sara").await?;
    println!("by name     net.example.greet(\"Sara\") = {greeting:?}");

    match example::greet::call(&session, "Bob".into()).await {
        Err(CallError::Remote(GreetError::Denied { name, reason })) => {
            println!("typed error {name} was denied: {reason}");
        }
        other => return Err(format!("expected that Bob is denied, got {other:?}").into()),
    }

    match session.call::<String>("net.example.greet", &42).await {
        Err(error @ CallError::InvalidPayload { .. }) => println!("bad payload {error}"),
        other => return Err(format!("expected that 42 is refused, got {other:?}").into()),
    }

    let nobody = session
        .call::<()>("net.example.nobody", &())
        .timeout(Duration::from_millis(200));
    match nobody.await {
        Err(error @ CallError::Timeout { .. }) => println!("timeout     {error}"),
        other => return Err(format!("expected a timeout, got {other:?}").into()),
    }

    for _ in 0..2 {
        let event = joined.recv().await.ok_or("the consumer ended early")??;
        println!("event       {} joined", event.name);
        event.ack()?;
    }

    joined.close().await;
    service.stop().await;
    session.leave().await?;
    println!("done        service drained, session left");
    Ok(())
}
