//! Starting and stopping.

use std::{error::Error, io};

use almanet_broker::{Broker, BrokerConfig, StartError};
use tokio::net::TcpStream;

use crate::support::{Target, unique};

#[tokio::test]
async fn an_address_in_use_is_named() {
    let first = Broker::start(BrokerConfig::default()).await.unwrap();
    let address = first.tcp_addr();
    let error = Broker::start(BrokerConfig::default().tcp_address(address))
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }));
    assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    let cause: &io::Error = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn stopping_closes_the_listener_and_the_connections() {
    let target = Target::embedded(BrokerConfig::default()).await;
    let address = target.addr;
    let mut publisher = target.client().await;
    let mut subscriber = target.subscriber(&unique("stop"), "c", 1).await;
    publisher.expect_quiet().await;
    subscriber.expect_quiet().await;
    target.stop().await;
    publisher.expect_close().await;
    subscriber.expect_close().await;
    let error = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_dropped_handle_ends_the_broker() {
    let target = Target::embedded(BrokerConfig::default()).await;
    let mut client = target.client().await;
    client.expect_quiet().await;
    drop(target);
    client.expect_close().await;
}
