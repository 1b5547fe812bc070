//! Permissions that expire, given to a real broker by an auth server.

use almanet_broker::{Auth, Broker, BrokerConfig};
use almanet_nsq::{
    ConnectError, ConnectionChange, ConnectionConfig, Consumer, ConsumerConfig, ErrorCode, Producer,
    ProducerConfig, PublishError,
};

use crate::{
    auth_server::AuthServer,
    nsqd::Nsqd,
    observed::{Observed, observed},
    peer::{body, channel, quick, soon, topic},
};

const SECRET: &str = "correct horse battery staple";

fn guarded(auth: &AuthServer) -> BrokerConfig {
    BrokerConfig::default().auth(Auth::http([&auth.address]).unwrap())
}

fn authenticated() -> (ConnectionConfig, Observed) {
    observed(quick().auth_secret(SECRET))
}

async fn producer(address: &str, connection: ConnectionConfig) -> Result<Producer, ConnectError> {
    let config = ProducerConfig::default().connection(connection);
    soon(Producer::connect(address, config)).await
}

async fn consumer(address: &str, connection: ConnectionConfig) -> Consumer {
    let config = ConsumerConfig::default().connection(connection);
    let connecting = Consumer::connect([address], topic("t"), channel("c"), config);
    soon(connecting).await.unwrap()
}

/// Waits until an attempt to connect was refused for want of a permission.
async fn refused(seen: &mut Observed) {
    let is_refusal = |change: &ConnectionChange| matches!(change, ConnectionChange::Failed { cause } if cause.contains("refuses the authentication secret"));
    seen.until(|event| is_refusal(&event.change)).await;
}

/// Messages go there and back while the permission is renewed twice, and no connection is lost.
async fn messages_flow_while_permissions_expire(address: &str, auth: &AuthServer) {
    let (connection, mut seen) = authenticated();
    let producer = producer(address, connection.clone()).await.unwrap();
    let mut consumer = consumer(address, connection).await;
    let renewed_twice = auth.asked() + 2;
    let flowing = async {
        while auth.asked() < renewed_twice {
            producer.publish(&topic("t"), body("x")).await.unwrap();
            consumer.recv().await.unwrap().finish().unwrap();
        }
    };
    soon(flowing).await;
    while let Some(event) = seen.try_next() {
        let is_connected = matches!(event.change, ConnectionChange::Connected { .. });
        assert!(is_connected, "{event:?}");
    }
}

#[tokio::test]
async fn a_permission_that_expires_is_renewed_by_the_broker_and_nobody_notices() {
    let auth = AuthServer::start(SECRET).await;
    let broker = Broker::start(guarded(&auth)).await.unwrap();
    messages_flow_while_permissions_expire(&broker.tcp_addr().to_string(), &auth).await;
    if let Some(nsqd) = Nsqd::start(&[format!("--auth-http-address={}", auth.address)]) {
        messages_flow_while_permissions_expire(&nsqd.address, &auth).await;
    }
}

/// The broker says that the permission is over; once there is one again, publishing goes on.
async fn a_producer_outlives_the_refusal(address: &str, auth: &AuthServer) {
    let (connection, mut seen) = authenticated();
    let producer = producer(address, connection).await.unwrap();
    soon(producer.publish(&topic("t"), body("x"))).await.unwrap();
    auth.allow(false);
    let publishing = async {
        loop {
            if let Err(error) = producer.publish(&topic("t"), body("x")).await {
                return error;
            }
        }
    };
    let error = soon(publishing).await;
    let PublishError::Refused { cause, .. } = &error else {
        panic!("{error:?} is not Refused");
    };
    let codes = [ErrorCode::Unauthorized, ErrorCode::AuthFailed];
    assert!(codes.contains(&cause.code), "{error:?}");
    // The connection that is made next is refused, again and again.
    for _ in 0..3 {
        refused(&mut seen).await;
    }
    auth.allow(true);
    soon(producer.publish(&topic("t"), body("x"))).await.unwrap();
}

#[tokio::test]
async fn a_permission_that_is_not_renewed_is_an_error_and_not_the_end_of_a_producer() {
    let auth = AuthServer::start(SECRET).await;
    let broker = Broker::start(guarded(&auth)).await.unwrap();
    a_producer_outlives_the_refusal(&broker.tcp_addr().to_string(), &auth).await;
    if let Some(nsqd) = Nsqd::start(&[format!("--auth-http-address={}", auth.address)]) {
        a_producer_outlives_the_refusal(&nsqd.address, &auth).await;
    }
}

#[tokio::test]
async fn a_consumer_whose_permission_is_gone_when_it_reconnects_gets_its_messages_once_it_is_back() {
    let auth = AuthServer::start(SECRET).await;
    let broker = Broker::start(guarded(&auth)).await.unwrap();
    let address = broker.tcp_addr();
    let (connection, mut seen) = authenticated();
    let mut consumer = consumer(&address.to_string(), connection).await;
    broker.stop().await.unwrap();
    auth.allow(false);
    let broker = Broker::start(guarded(&auth).tcp_address(address)).await.unwrap();
    for _ in 0..3 {
        refused(&mut seen).await;
    }
    auth.allow(true);
    let (connection, _) = authenticated();
    let producer = producer(&broker.tcp_addr().to_string(), connection)
        .await
        .unwrap();
    soon(producer.publish(&topic("t"), body("x"))).await.unwrap();
    let delivery = soon(consumer.recv()).await.unwrap();
    assert_eq!(delivery.body(), "x");
    delivery.finish().unwrap();
}
