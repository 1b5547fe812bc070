//! A program without a runtime: it calls, produces and consumes, and each line waits.
//!
//!     cargo run --example blocking
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there, where `greeting_service` runs, instead of a broker and a service in
//! this process.

use std::{error::Error, sync::mpsc::channel, thread};

use almanet::{Broker, BrokerConfig, Procedure, Service, blocking::Session};

fn main() -> Result<(), Box<dyn Error>> {
    let address = match std::env::var("ALMANET_NSQD") {
        Ok(address) => address,
        Err(_) => elsewhere()?,
    };

    let session = Session::connect(&address)?;
    let greeting: String = session.call("net.example.greet", "Aidar").wait()?;
    println!("called    {greeting}");

    let mut greeted = session.consume_topic::<String>("net.example.greeted", "example")?;
    session.produce("net.example.greeted", &greeting)?;
    if let Some(event) = greeted.recv() {
        let event = event?;
        println!("consumed  {}", *event);
        event.ack()?;
    }

    greeted.close()?;
    session.leave()?;
    Ok(())
}

/// Starts what would be other programs: a broker and a service, which end with this process. Returns the broker's address.
fn elsewhere() -> Result<String, Box<dyn Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let (started, starting) = channel();
    thread::spawn(move || {
        runtime.block_on(async {
            let broker = Broker::start(BrokerConfig::default()).await.ok()?;
            let address = broker.tcp_addr().to_string();
            let session = almanet::Session::connect(&address).await.ok()?;
            let greet = Procedure::new(
                "net.example.greet",
                |_: almanet::Context, name: String| async move {
                    Ok::<_, std::convert::Infallible>(format!("Hello, {name}!"))
                },
            );
            let service = Service::new().procedure(greet).start(&session).await.ok()?;
            started.send(address).ok()?;
            service.stopped().await;
            Some(())
        })
    });
    Ok(starting.recv()?)
}
