//! A broker that is killed and restarted under load.

use std::net::SocketAddr;

use almanet::{Broker, BrokerConfig};
use almanet_tests::{
    proxy::{Cut, Proxy},
    start_again,
};

use super::{MAX_IN_FLIGHT, consumer, lasting_address, load::Load, producer, program::Program, unique_topic};

const RESTARTS: usize = 3;

/// These tests stop their broker, so they always have one of their own.
async fn broker_at(address: SocketAddr) -> Broker {
    start(BrokerConfig::default(), address).await
}

async fn start(config: BrokerConfig, address: SocketAddr) -> Broker {
    start_again(&config.tcp_address(address))
        .await
        .expect("an embedded broker")
}

#[tokio::test]
async fn with_a_data_path_every_confirmed_publish_is_consumed_over_restarts_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let config = BrokerConfig::default().data_path(directory.path());
    let address = lasting_address();
    let mut broker = start(config.clone(), address).await;
    let mut load = Load::new(unique_topic());
    load.consume(consumer([address.to_string()], &load.topic).await);
    load.publish(producer(address.to_string()).await);
    load.goes_on(500).await;
    for _ in 0..RESTARTS {
        broker.stop().await.unwrap();
        broker = start(config.clone(), address).await;
        load.goes_on(500).await;
    }
    let balance = load.settle().await;
    // What was delivered, and whose answer the stop has cut off.
    balance.check("a broker with a data path", RESTARTS * MAX_IN_FLIGHT, 0);
    // A clean stop may have confirmed all that it was sent.
    let struck = balance.unconfirmed + balance.failed + balance.redelivered;
    assert!(struck > 0, "nothing was under way at any stop: {balance}");
    assert_eq!(balance.gone_with_a_broker, 0, "{balance}");
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_is_restarted_under_load_loses_only_what_it_had_in_memory() {
    let address = lasting_address();
    let mut broker = broker_at(address).await;
    let mut load = Load::new(unique_topic());
    load.consume(consumer([address.to_string()], &load.topic).await);
    load.publish(producer(address.to_string()).await);
    load.goes_on(500).await;
    let mut left = 0;
    for _ in 0..RESTARTS {
        broker.stop().await.unwrap();
        left += load.broker_was_replaced();
        broker = broker_at(address).await;
        load.goes_on(500).await;
    }
    let balance = load.settle().await;
    balance.check("a broker restarted under load", 0, 0);
    let struck = balance.unconfirmed + balance.failed + balance.gone_with_a_broker;
    assert!(struck > 0, "nothing was under way at any stop: {balance}");
    assert!(balance.gone_with_a_broker <= left, "more than {left}: {balance}");
}

#[tokio::test]
async fn a_broker_that_is_killed_and_restarted_under_load_loses_only_what_it_had_in_memory() {
    let mut broker = Program::start();
    let address = broker.address.to_string();
    let mut load = Load::new(unique_topic());
    load.consume(consumer([address.clone()], &load.topic).await);
    load.publish(producer(address).await);
    load.goes_on(500).await;
    let mut left = 0;
    for _ in 0..RESTARTS {
        broker.kill();
        left += load.broker_was_replaced();
        broker.replace();
        load.goes_on(500).await;
    }
    let balance = load.settle().await;
    balance.check("a broker killed under load", 0, 0);
    balance.check_that_faults_struck();
    assert!(balance.gone_with_a_broker <= left, "more than {left}: {balance}");
}

#[tokio::test]
async fn a_broker_that_is_replaced_by_another_is_left_for_it() {
    let first = broker_at(([127, 0, 0, 1], 0).into()).await;
    let second = broker_at(([127, 0, 0, 1], 0).into()).await;
    let proxy = Proxy::to(first.tcp_addr().to_string()).await;
    let mut load = Load::new(unique_topic());
    load.consume(consumer([proxy.address()], &load.topic).await);
    load.publish(producer(proxy.address()).await);
    load.goes_on(200).await;
    // Killed: no farewell, and nobody there for a while.
    proxy.refuse(true);
    proxy.cut(Cut::Reset);
    first.stop().await.unwrap();
    proxy.until(|counts| counts.refused >= 3).await;
    proxy.point_to(second.tcp_addr().to_string());
    load.broker_was_replaced();
    proxy.refuse(false);
    load.goes_on(500).await;
    let balance = load.settle().await;
    balance.check("a broker replaced under load", 0, 0);
    balance.check_that_faults_struck();
}
