//! A broker that goes and comes back: sessions and services find it again.

use std::time::Duration;

use almanet::{Broker, BrokerConfig, Service, Session};
use almanet_tests::{echo, unique};

/// These tests stop their broker, so they always have one of their own.
async fn broker_at(address: std::net::SocketAddr) -> Broker {
    Broker::start(BrokerConfig::default().tcp_address(address))
        .await
        .expect("an embedded broker")
}

#[tokio::test]
async fn calls_and_events_work_again_after_the_broker_restarts() {
    let broker = broker_at(([127, 0, 0, 1], 0).into()).await;
    let address = broker.tcp_addr();
    let session = Session::connect(address.to_string()).await.unwrap();
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&session)
        .await
        .unwrap();
    let topic = unique("test.topic");
    let mut consumer = session.consume_topic::<u32>(&topic, "worker").await.unwrap();
    assert_eq!(session.call::<String>(&uri, "before").await.unwrap(), "before");

    broker.stop().await.unwrap();
    let _broker = broker_at(address).await;

    // A call that is made while the connections come back can be lost with the old broker; a new one is not.
    let answer = loop {
        let call = session
            .call::<String>(&uri, "after")
            .timeout(Duration::from_secs(2));
        if let Ok(answer) = call.await {
            break answer;
        }
    };
    assert_eq!(answer, "after");
    session.produce(&topic, &7).await.unwrap();
    let event = consumer.recv().await.unwrap().unwrap();
    assert_eq!(*event, 7);
    event.ack().unwrap();
}

#[tokio::test]
async fn with_two_brokers_a_call_reaches_a_service_through_the_one_that_is_left() {
    let first = broker_at(([127, 0, 0, 1], 0).into()).await;
    let second = broker_at(([127, 0, 0, 1], 0).into()).await;
    let addresses = format!("{},{}", first.tcp_addr(), second.tcp_addr());
    let (serving, calling) = (
        Session::connect(&addresses).await.unwrap(),
        Session::connect(&addresses).await.unwrap(),
    );
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&serving)
        .await
        .unwrap();
    for text in ["one", "two", "three", "four"] {
        assert_eq!(calling.call::<String>(&uri, text).await.unwrap(), text);
    }

    first.stop().await.unwrap();
    let mut answered = 0;
    while answered < 10 {
        // The first call may go to the broker that has just gone; none that follows does.
        let call = calling
            .call::<String>(&uri, "still here")
            .timeout(Duration::from_secs(2));
        if call.await.is_ok() {
            answered += 1;
        }
    }
    let late = Session::connect(&addresses).await.unwrap();
    assert_eq!(
        late.call::<String>(&uri, "one is enough").await.unwrap(),
        "one is enough"
    );
}
