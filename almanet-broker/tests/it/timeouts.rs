//! Messages that are not answered in time.

use std::time::{Duration, Instant};

use almanet_broker::BrokerConfig;

use crate::support::{Client, Target, identify, unique};

/// A subscriber with nsqd's shortest message timeout.
async fn hasty_subscriber(target: &Target, topic: &str) -> Client {
    let mut client = target.client().await;
    client.send(&identify(r#"{"msg_timeout":1000}"#)).await;
    client.expect_response("OK").await;
    client.send(format!("SUB {topic} c\n").as_bytes()).await;
    client.expect_response("OK").await;
    client.send(b"RDY 1\n").await;
    client
}

#[tokio::test]
async fn an_unanswered_message_is_delivered_again() {
    let target = Target::start().await;
    let topic = unique("timeout");
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"x").await;
    let mut client = hasty_subscriber(&target, &topic).await;
    let first = client.message().await;
    let start = Instant::now();
    let second = client.message().await;
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(950), "{waited:?}");
    assert_eq!((second.id.as_str(), second.attempts), (first.id.as_str(), 2));
    client.send(format!("FIN {}\n", second.id).as_bytes()).await;
    client.expect_quiet().await;
}

#[tokio::test]
async fn a_touched_message_gets_its_timeout_anew() {
    let target = Target::start().await;
    let topic = unique("touch");
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"x").await;
    let mut client = hasty_subscriber(&target, &topic).await;
    let start = Instant::now();
    let id = client.message().await.id;
    // Round trips pass the time, so that nothing has to sleep; nsqd would be seconds late with a deferred message.
    while start.elapsed() < Duration::from_millis(700) {
        publisher.expect_quiet().await;
    }
    client.send(format!("TOUCH {id}\n").as_bytes()).await;
    let again = client.message().await;
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(1600), "{waited:?}");
    assert_eq!(again.attempts, 2);
}

#[tokio::test]
async fn what_a_dead_connection_had_in_flight_goes_to_another_at_once() {
    // Embedded only: nsqd waits for the message timeout.
    let target = Target::embedded(BrokerConfig::default()).await;
    let topic = unique("dead");
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"x").await;
    let mut first = target.subscriber(&topic, "c", 1).await;
    assert_eq!(first.message().await.attempts, 1);
    let mut second = target.subscriber(&topic, "c", 1).await;
    second.expect_quiet().await;
    drop(first);
    let again = second.message().await;
    assert_eq!((again.body.as_slice(), again.attempts), (&b"x"[..], 2));
}

#[tokio::test]
async fn the_default_timeout_is_the_brokers() {
    let config = BrokerConfig::default().message_timeout(Duration::from_millis(50));
    let target = Target::embedded(config).await;
    let topic = unique("default");
    let mut client = target.subscriber(&topic, "c", 1).await;
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"x").await;
    for attempts in 1..=3 {
        assert_eq!(client.message().await.attempts, attempts);
    }
}
