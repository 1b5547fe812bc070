//! The wire protocol by hand: a procedure is called with JSON, by a program that has an NSQ client and nothing of the framework.
//!
//!     cargo run --example wire
//!
//! The bytes are those of docs/protocol.md. The service is made with the framework, and does not notice.

use std::error::Error;

use almanet::{Broker, BrokerConfig, Session, procedure};
use almanet_nsq::{ChannelName, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicName};

/// Greets.
#[procedure(uri = "net.example.greet")]
async fn greet(name: String) -> String {
    format!("Hello, {name}!")
}

const CALLER: &str = "22222222222222222222222222222222";

/// An invocation of the Python package's shape. The payload is JSON within a JSON text.
fn invocation(call: &str, payload: &str, reply_topic: &TopicName) -> String {
    let payload = payload.replace('"', "\\\"");
    format!(
        r#"{{"id":"{call}","caller_id":"{CALLER}","payload":"{payload}","reply_topic":"{reply_topic}","timeout_ms":5000}}"#
    )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::start(BrokerConfig::default()).await?;
    let address = broker.tcp_addr().to_string();
    let session = Session::connect(&address).await?;
    let service = almanet::Service::new().procedure(greet::procedure());
    let serving = service.start(&session).await?;

    // Who calls listens first, on a topic of its own.
    let reply_topic = TopicName::new(format!("_rpc_._reply_.{CALLER}#ephemeral"))?;
    let channel = ChannelName::new("almanet#ephemeral")?;
    let mut replies = Consumer::connect(
        [&address],
        reply_topic.clone(),
        channel,
        ConsumerConfig::default(),
    )
    .await?;
    let producer = Producer::connect(&address, ProducerConfig::default()).await?;
    let topic = TopicName::new("_rpc_.net.example.greet")?;

    for (call, payload) in [
        ("11111111111111111111111111111111", r#""Aidar""#),
        ("33333333333333333333333333333333", "42"),
    ] {
        let invocation = invocation(call, payload, &reply_topic);
        println!("> {invocation}");
        producer.publish(&topic, invocation.into()).await?;
        let reply = replies.recv().await.ok_or("the consumer has ended")?;
        println!("< {}", String::from_utf8_lossy(reply.body()));
        reply.finish()?;
    }

    producer.close().await;
    replies.close().await;
    serving.stop().await;
    session.leave().await?;
    broker.stop().await?;
    Ok(())
}
