//! The NSQ client alone: two nodes of which one goes away, and a publisher and a consumer who go on.
//!
//!     cargo run --example nsq_pool

use std::{collections::BTreeSet, error::Error};

use almanet::{Broker, BrokerConfig};
use almanet_nsq::{
    ChannelName, ConnectionConfig, Consumer, ConsumerConfig, Duplicates, ProducerConfig, ProducerPool,
    ProducerPoolConfig, TopicName,
};

const MESSAGES: usize = 500;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let first = Broker::start(BrokerConfig::default()).await?;
    let second = Broker::start(BrokerConfig::default()).await?;
    let nodes = [first.tcp_addr().to_string(), second.tcp_addr().to_string()];
    let (topic, channel) = (TopicName::new("measured")?, ChannelName::new("archive")?);

    // Whoever operates this learns what happens to each connection.
    let connection = ConnectionConfig::default()
        .observer(|event| println!("{} {:?}: {:?}", event.address, event.role, event.change));
    let mut consumer = Consumer::connect(&nodes, topic.clone(), channel, ConsumerConfig::default()).await?;
    // The archive does not mind a message that it has, so one that is unconfirmed may be sent again.
    let config = ProducerPoolConfig::default()
        .producer(ProducerConfig::default().connection(connection))
        .duplicates(Duplicates::Allowed);
    let pool = ProducerPool::connect(&nodes, config).await?;

    for number in 0..MESSAGES {
        pool.publish(&topic, number.to_string().into()).await?;
    }
    println!("archived {}", archive(&mut consumer, MESSAGES).await?);

    // An embedded broker keeps its messages in memory, so it goes when it has given them all away.
    second.stop().await?;
    for number in 0..MESSAGES {
        pool.publish(&topic, number.to_string().into()).await?;
    }
    println!(
        "archived {} without the second node",
        archive(&mut consumer, MESSAGES).await?
    );

    consumer.close().await;
    pool.close().await;
    Ok(())
}

/// Reads until there are so many different messages.
async fn archive(consumer: &mut Consumer, count: usize) -> Result<usize, Box<dyn Error>> {
    let mut archive = BTreeSet::new();
    while archive.len() < count {
        let delivery = consumer.recv().await.ok_or("the consumer has ended")?;
        archive.insert(delivery.body().clone());
        delivery.finish()?;
    }
    Ok(archive.len())
}
