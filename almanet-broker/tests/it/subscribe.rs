//! SUB, RDY, FIN, REQ and CLS, and what ephemeral names do.

use std::collections::BTreeMap;

use crate::support::{Target, identify, unique};

#[tokio::test]
async fn no_more_messages_are_in_flight_than_the_client_is_ready_for() {
    let target = Target::start().await;
    let topic = unique("rdy");
    let mut publisher = target.client().await;
    for body in [b"1", b"2", b"3"] {
        publisher.publish(&topic, body).await;
    }
    let mut client = target.subscriber(&topic, "c", 2).await;
    let first = client.message().await;
    client.message().await;
    client.expect_quiet().await;
    client.send(format!("FIN {}\n", first.id).as_bytes()).await;
    client.message().await;
    client.expect_quiet().await;
}

#[tokio::test]
async fn a_client_that_is_not_ready_gets_nothing() {
    let target = Target::start().await;
    let topic = unique("unready");
    let mut client = target.client().await;
    client.send(format!("SUB {topic} c\n").as_bytes()).await;
    client.expect_response("OK").await;
    client.publish(&topic, b"x").await;
    client.expect_quiet().await;
    client.send(b"RDY 1\n").await;
    assert_eq!(client.message().await.body, b"x");
    client.send(b"RDY 0\n").await;
    client.publish(&topic, b"y").await;
    client.expect_quiet().await;
}

#[tokio::test]
async fn the_answer_to_sub_comes_before_the_first_message() {
    let target = Target::start().await;
    let topic = unique("order");
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"waiting").await;
    let mut client = target.client().await;
    client.send(format!("SUB {topic} c\nRDY 5\n").as_bytes()).await;
    client.expect_response("OK").await;
    assert_eq!(client.message().await.body, b"waiting");
}

#[tokio::test]
async fn a_finished_message_does_not_come_again() {
    let target = Target::start().await;
    let topic = unique("fin");
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"once").await;
    let mut client = target.subscriber(&topic, "c", 1).await;
    let id = client.message().await.id;
    client.send(format!("FIN {id}\nFIN {id}\n").as_bytes()).await;
    client
        .expect_error(&format!("E_FIN_FAILED FIN {id} failed ID not in flight"))
        .await;
    drop(client);
    let mut client = target.subscriber(&topic, "c", 1).await;
    client.expect_quiet().await;
}

#[tokio::test]
async fn a_requeued_message_comes_again_with_one_more_attempt() {
    let target = Target::start().await;
    let topic = unique("req");
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"again").await;
    let mut client = target.subscriber(&topic, "c", 1).await;
    let first = client.message().await;
    client.send(format!("REQ {} 0\n", first.id).as_bytes()).await;
    let second = client.message().await;
    assert_eq!((second.id.as_str(), second.attempts), (first.id.as_str(), 2));
    assert_eq!((second.body, second.timestamp), (first.body, first.timestamp));
    client.send(format!("REQ {} 200\n", second.id).as_bytes()).await;
    client.expect_quiet().await;
    assert_eq!(client.message().await.attempts, 3);
}

#[tokio::test]
async fn a_requeue_delay_beyond_the_maximum_is_cut() {
    let target = Target::start().await;
    let topic = unique("cut");
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"x").await;
    let mut client = target.subscriber(&topic, "c", 1).await;
    let id = client.message().await.id;
    client.send(format!("REQ {id} 999999999\n").as_bytes()).await;
    client.expect_quiet().await;
}

#[tokio::test]
async fn after_cls_messages_in_flight_may_still_be_answered() {
    let target = Target::start().await;
    let topic = unique("cls");
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"1").await;
    publisher.publish(&topic, b"2").await;
    let mut client = target.subscriber(&topic, "c", 1).await;
    let id = client.message().await.id;
    client.send(b"CLS\n").await;
    client.expect_response("CLOSE_WAIT").await;
    client.send(b"RDY 5\n").await;
    client.send(format!("TOUCH {id}\nFIN {id}\n").as_bytes()).await;
    client.expect_quiet().await;
    client.send(b"CLS\n").await;
    client.expect_fatal("E_INVALID cannot CLS in current state").await;
}

#[tokio::test]
async fn subscribers_of_a_channel_share_its_messages() {
    let target = Target::start().await;
    let topic = unique("share");
    let mut one = target.subscriber(&topic, "c", 1).await;
    one.expect_quiet().await;
    let mut two = target.subscriber(&topic, "c", 1).await;
    two.expect_quiet().await;
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"a").await;
    publisher.publish(&topic, b"b").await;
    let mut bodies = [one.message().await.body, two.message().await.body];
    bodies.sort();
    assert_eq!(bodies, [b"a", b"b"]);
}

#[tokio::test]
async fn an_ephemeral_channel_vanishes_with_its_last_subscriber() {
    let target = Target::start().await;
    let topic = unique("vanish");
    let mut publisher = target.client().await;
    let mut keeper = target.subscriber(&topic, "keeper", 10).await;
    let mut client = target.subscriber(&topic, "gone#ephemeral", 0).await;
    client.expect_quiet().await;
    publisher.publish(&topic, b"before").await;
    keeper.message().await;
    // The broker closes after it has let go of the channel; nsqd within moments of it.
    client.send(b"NONSENSE\n").await;
    client.expect_fatal("E_INVALID invalid command NONSENSE").await;
    let mut again = target.subscriber(&topic, "gone#ephemeral", 10).await;
    if target.is_embedded() {
        again.expect_quiet().await;
    }
    publisher.publish(&topic, b"after").await;
    keeper.message().await;
}

#[tokio::test]
async fn an_ephemeral_topic_vanishes_with_its_last_channel() {
    // Embedded only: nsqd removes it a little later than it closes the connection.
    let target = Target::embedded(almanet_broker::BrokerConfig::default()).await;
    let topic = format!("{}#ephemeral", unique("reply"));
    let mut publisher = target.client().await;
    let mut client = target.subscriber(&topic, "main#ephemeral", 0).await;
    client.expect_quiet().await;
    publisher.publish(&topic, b"lost").await;
    client.send(b"NONSENSE\n").await;
    client.expect_fatal("E_INVALID invalid command NONSENSE").await;
    publisher.publish(&topic, b"late reply").await;
    let mut client = target.subscriber(&topic, "main#ephemeral", 10).await;
    assert_eq!(client.message().await.body, b"late reply");
    client.expect_quiet().await;
}

#[tokio::test]
async fn a_sampling_subscriber_gets_about_its_share() {
    let target = Target::start().await;
    let topic = unique("sample");
    let mut client = target.client().await;
    client.send(&identify(r#"{"sample_rate":50}"#)).await;
    client.expect_response("OK").await;
    client.send(format!("SUB {topic} c\n").as_bytes()).await;
    client.expect_response("OK").await;
    client.send(b"RDY 2500\n").await;
    let bodies = vec![&b"x"[..]; 2000];
    client.send(&crate::support::publish_many(&topic, &bodies)).await;
    // Then a message that ends the counting, sent until it is among the sampled.
    let mut counts = BTreeMap::new();
    let mut pending_end = true;
    loop {
        let (kind, data) = client.frame().await;
        if kind == 0 && pending_end {
            pending_end = false;
            let ends = vec![&b"end"[..]; 40];
            client.send(&crate::support::publish_many(&topic, &ends)).await;
        }
        if kind == 2 {
            let body = data[26..].to_vec();
            if body == b"end" {
                break;
            }
            *counts.entry(body).or_insert(0) += 1;
        }
    }
    let share = counts[&b"x"[..].to_vec()];
    assert!((850..=1190).contains(&share), "{share} of 2000");
}
