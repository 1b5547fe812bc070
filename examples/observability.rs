//! Seeing what happens: log lines of calls and events with their trace, and metrics for Prometheus.
//!
//!     cargo run --example observability
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded broker.

use std::{error::Error, io};

use almanet::{
    Broker, BrokerConfig, Event, Session,
    layer::MetricsLayer,
    service,
    telemetry::{Prometheus, TraceContext},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

#[derive(Serialize, Deserialize, Event)]
#[event(topic = "example.shop.ordered")]
struct Ordered {
    what: String,
}

/// So that the program knows when to look at the metrics.
static SHIPPED: Notify = Notify::const_new();

/// A shop: an order is placed, paid on the way, and shipped later.
#[service(prepath = "net.example.shop")]
mod shop {
    use almanet::Context;

    use super::{Ordered, SHIPPED};

    /// Places an order.
    #[procedure]
    pub async fn order(context: Context, what: String) -> bool {
        tracing::info!(what, "an order came in");
        let paid = super::shop::pay::call(context.session(), 3).await.is_ok();
        paid && context.session().emit(&Ordered { what }).await.is_ok()
    }

    /// Sends off what was ordered.
    #[consumer(channel = "shipping")]
    async fn ship(event: Ordered) {
        tracing::info!(event.what, "shipped");
        SHIPPED.notify_one();
    }

    /// Takes the money.
    #[procedure]
    pub async fn pay(amount: u32) {
        tracing::info!(amount, "paid");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Spans are shown with each line that is logged in them; with `tracing-opentelemetry` here they would be exported.
    tracing_subscriber::fmt()
        .with_env_filter(
            "warn,observability=info,almanet::call=info,almanet::handler=info,almanet::consume=info",
        )
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    let prometheus = Prometheus::serve("127.0.0.1:0").await?;

    let (_broker, address) = match std::env::var("ALMANET_NSQD") {
        Ok(address) => (None, address),
        Err(_) => {
            let broker = Broker::start(BrokerConfig::default()).await?;
            let address = broker.tcp_addr().to_string();
            (Some(broker), address)
        }
    };
    let measured = MetricsLayer::new();
    let session = Session::builder()
        .address(&address)
        .layer(measured.clone())
        // Events travel in an envelope then, where there is a trace.
        .event_traces(true)
        .connect()
        .await?;
    let service = shop::service()
        .layer(measured.clone())
        .consumer_layer(measured)
        .start(&session)
        .await?;

    // A request that came over HTTP would bring its own traceparent.
    let request: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
    let placed = request
        .scope(async { shop::order::call(&session, "tea".into()).await })
        .await?;
    println!("placed and paid: {placed}");
    SHIPPED.notified().await;
    // What runs is waited for, and is counted then.
    service.stop().await;

    // What Prometheus would fetch.
    let mut stream = TcpStream::connect(prometheus.address()).await?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await?;
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).await?;
    let mut counts: Vec<_> = metrics
        .lines()
        .filter(|line| line.contains("_seconds_count"))
        .collect();
    counts.sort_unstable();
    for count in counts {
        println!("{count}");
    }

    session.leave().await?;
    Ok(())
}
