//! A fan-out: one event, and every channel gets a copy, each at its own pace.
//!
//!     cargo run --example fan_out
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded broker.

mod support;

use std::error::Error;

use almanet::{Event, EventContext, Failure, PushConsumer, Service, Session};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[derive(Debug, Serialize, Deserialize, Event)]
#[event(topic = "example.fan_out.paid")]
struct OrderPaid {
    order: u32,
}

/// A consumer on a channel of its own, which tells `seen` what it does.
fn department(channel: &'static str, does: &'static str, seen: &mpsc::Sender<String>) -> PushConsumer {
    let seen = seen.clone();
    PushConsumer::of_event(channel, move |context: EventContext, event: OrderPaid| {
        let seen = seen.clone();
        async move {
            let line = format!("{}: {does} {}", context.channel(), event.order);
            seen.send(line).await.map_err(Failure::retry)
        }
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (_broker, address) = support::broker().await?;
    let session = Session::connect(&address).await?;
    let (seen, mut lines) = mpsc::channel(16);
    let departments = Service::new()
        .consumer(department("warehouse", "packs order", &seen))
        .consumer(department("accounting", "books order", &seen))
        .consumer(department("mailer", "says thanks for order", &seen))
        .start(&session)
        .await?;

    for order in [7, 8] {
        session.emit(&OrderPaid { order }).await?;
    }
    let mut all = Vec::new();
    while all.len() < 6 {
        all.push(lines.recv().await.ok_or("the departments are gone")?);
    }
    all.sort();
    println!("{}", all.join("\n"));
    departments.stop().await;
    session.leave().await?;
    Ok(())
}
