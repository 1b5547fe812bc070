//! The NSQ client alone: a queue of work, with retries and a place for what cannot be done.
//!
//!     cargo run --example nsq_work_queue
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of an embedded broker.

use std::{error::Error, time::Duration};

use almanet::{Broker, BrokerConfig};
use almanet_nsq::{ChannelName, Consumer, ConsumerConfig, Delivery, Producer, ProducerConfig, TopicName};
use bytes::Bytes;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (_broker, address) = match std::env::var("ALMANET_NSQD") {
        Ok(address) => (None, address),
        Err(_) => {
            let broker = Broker::start(BrokerConfig::default()).await?;
            let address = broker.tcp_addr().to_string();
            (Some(broker), address)
        }
    };
    // A topic of this run alone, which the broker forgets with its last reader.
    let topic = |name| TopicName::new(format!("{name}_{}#ephemeral", std::process::id()));
    let (orders, dead) = (topic("orders")?, topic("orders.dlq")?);
    let channel = ChannelName::new("kitchen")?;

    let producer = Producer::connect(&address, ProducerConfig::default()).await?;
    let mut dead_letters = Consumer::connect(
        [&address],
        dead.clone(),
        channel.clone(),
        ConsumerConfig::default(),
    )
    .await?;

    let undertaker = (producer.clone(), dead);
    let config = ConsumerConfig::default()
        // Orders fail each for a reason of its own, so one that fails is no reason to pause the others.
        .backoff(None)
        .max_attempts(2)
        .on_give_up(move |delivery| {
            let (producer, dead) = undertaker.clone();
            async move {
                // What is not confirmed is not finished: dropped, it comes again.
                if producer.publish(&dead, delivery.body().clone()).await.is_ok() {
                    let _ = delivery.finish();
                }
            }
        });
    let mut kitchen = Consumer::connect([&address], orders.clone(), channel, config).await?;

    for order in ["tea", "a unicorn", "coffee"] {
        // Resolves when the broker has the message.
        producer
            .publish(&orders, Bytes::from_static(order.as_bytes()))
            .await?;
    }

    let cooking = async {
        while let Some(order) = kitchen.recv().await {
            cook(order)?;
        }
        Ok::<_, Box<dyn Error>>(())
    };
    let dead_letter = tokio::select! {
        cooked = cooking => return cooked,
        dead_letter = dead_letters.recv() => dead_letter.ok_or("the consumer has ended")?,
    };
    println!("dead letter: {}", text(&dead_letter));
    dead_letter.finish()?;

    // Waits for what is under way; what was not started goes to another consumer.
    kitchen.close().await;
    dead_letters.close().await;
    producer.close().await;
    println!("closed");
    Ok(())
}

fn cook(order: Delivery) -> Result<(), Box<dyn Error>> {
    if text(&order) == "a unicorn" {
        println!("attempt {} at {} failed", order.attempts(), text(&order));
        return Ok(order.requeue(Duration::from_millis(50))?);
    }
    println!("served {}", text(&order));
    Ok(order.finish()?)
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(delivery.body()).into_owned()
}
