//! What is beyond the broker's memory. Embedded only: nsqd writes to its disk instead.

use almanet_broker::BrokerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Target, publish, publish_deferred, publish_many, unique};

#[tokio::test]
async fn a_full_channel_refuses_publishers_and_takes_messages_again_when_it_is_not() {
    let target = Target::embedded(BrokerConfig::default().max_channel_depth(2)).await;
    let topic = unique("full");
    let mut subscriber = target.subscriber(&topic, "c", 0).await;
    subscriber.expect_quiet().await;
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"1").await;
    let full = format!("failed channel c of topic {topic} is full: max_channel_depth is 2 messages");

    publisher.send(&publish_many(&topic, &[b"2", b"3"])).await;
    publisher
        .expect_fatal(&format!("E_MPUB_FAILED MPUB {full}"))
        .await;

    let mut publisher = target.client().await;
    publisher.send(&publish_deferred(&topic, 60_000, b"2")).await;
    publisher.expect_response("OK").await;
    publisher.send(&publish_deferred(&topic, 1, b"3")).await;
    publisher
        .expect_fatal(&format!("E_DPUB_FAILED DPUB {full}"))
        .await;

    let mut publisher = target.client().await;
    publisher.send(&publish(&topic, b"3")).await;
    publisher.expect_fatal(&format!("E_PUB_FAILED PUB {full}")).await;

    subscriber.send(b"RDY 2\n").await;
    let id = subscriber.message().await.id;
    subscriber.send(format!("FIN {id}\n").as_bytes()).await;
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"4").await;
    assert_eq!(subscriber.message().await.body, b"4");
}

#[tokio::test]
async fn a_topic_without_a_channel_is_bounded_too() {
    let target = Target::embedded(BrokerConfig::default().max_channel_depth(1)).await;
    let topic = unique("waiting");
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"1").await;
    publisher.send(&publish(&topic, b"2")).await;
    publisher
        .expect_fatal(&format!(
            "E_PUB_FAILED PUB failed topic {topic} has no channel and is full: max_channel_depth is 1 messages"
        ))
        .await;
}

#[tokio::test]
async fn memory_that_is_full_refuses_what_would_wait_and_nothing_else() {
    let target = Target::embedded(BrokerConfig::default().max_memory(50_000)).await;
    let (idle, busy) = (unique("idle"), unique("busy"));
    let mut consumer = target.subscriber(&busy, "c", 10).await;
    consumer.expect_quiet().await;
    let mut publisher = target.client().await;
    let body = vec![b'x'; 20_000];
    publisher.publish(&idle, &body).await;
    publisher.publish(&idle, &body).await;
    publisher.send(&publish(&idle, &body)).await;
    publisher
        .expect_fatal("E_PUB_FAILED PUB failed the broker is full: max_memory is 50000 bytes")
        .await;

    let mut publisher = target.client().await;
    publisher.publish(&busy, &body).await;
    assert_eq!(consumer.message().await.body, body);

    // What waited is consumed, and there is room again.
    let mut drain = target.subscriber(&idle, "c", 10).await;
    for _ in 0..2 {
        let id = drain.message().await.id;
        drain.send(format!("FIN {id}\n").as_bytes()).await;
    }
    drain.send(b"RDY 0\n").await;
    drain.expect_quiet().await;
    publisher.publish(&idle, &body).await;
}

#[tokio::test]
async fn topics_take_memory_and_are_bounded_by_it() {
    let target = Target::embedded(BrokerConfig::default().max_memory(10_000)).await;
    let mut publisher = target.client().await;
    let mut created = 0;
    loop {
        publisher.send(&publish(&unique("topic"), b"x")).await;
        let (kind, data) = publisher.frame().await;
        if kind == 1 {
            let words = String::from_utf8(data).unwrap();
            assert_eq!(
                words,
                "E_PUB_FAILED PUB failed the broker is full: max_memory is 10000 bytes"
            );
            break;
        }
        created += 1;
        assert!(created < 10);
    }
    let mut client = target.client().await;
    client
        .send(format!("SUB {} c\n", unique("topic")).as_bytes())
        .await;
    client
        .expect_fatal("E_SUB_FAILED SUB failed the broker is full: max_memory is 10000 bytes")
        .await;
}

#[tokio::test]
async fn a_full_ephemeral_channel_drops_and_publishers_do_not_notice() {
    let target = Target::embedded(BrokerConfig::default().max_channel_depth(2)).await;
    let topic = unique("dropping");
    let mut subscriber = target.subscriber(&topic, "c#ephemeral", 0).await;
    subscriber.expect_quiet().await;
    let mut publisher = target.client().await;
    for body in [b"1", b"2", b"3"] {
        publisher.publish(&topic, body).await;
    }
    subscriber.send(b"RDY 10\n").await;
    assert_eq!(subscriber.message().await.body, b"1");
    assert_eq!(subscriber.message().await.body, b"2");
    subscriber.expect_quiet().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so_and_closed() {
    let target = Target::embedded(BrokerConfig::default().max_connections(1)).await;
    let mut first = target.client().await;
    first.expect_quiet().await;
    let mut second = target.silent_client().await;
    second
        .expect_fatal("E_TOO_MANY_CONNECTIONS the broker has 1 connections, its limit")
        .await;
    first.expect_quiet().await;
}

#[tokio::test]
async fn a_refused_client_that_has_spoken_already_hears_why() {
    let target = Target::embedded(BrokerConfig::default().max_connections(1)).await;
    let mut first = target.client().await;
    first.expect_quiet().await;
    for _ in 0..20 {
        let mut second = target.client().await;
        let large = vec![b'x'; 100_000];
        second.send(&publish("t", &large)).await;
        second
            .expect_error("E_TOO_MANY_CONNECTIONS the broker has 1 connections, its limit")
            .await;
        // An orderly end: after a reset, neither reading nor writing would go without an error.
        assert_eq!(second.stream.read(&mut [0]).await.unwrap(), 0);
        second.stream.write_all(b"more").await.unwrap();
    }
    first.expect_quiet().await;
}

#[tokio::test]
async fn bodies_that_are_not_there_whole_take_memory_too() {
    const WHOLE: usize = 250_000;
    let target = Target::embedded(BrokerConfig::default().max_memory(400_000)).await;
    for (command, refusal) in [
        ("PUB", "E_PUB_FAILED PUB"),
        ("DPUB", "E_DPUB_FAILED DPUB"),
        ("MPUB", "E_MPUB_FAILED MPUB"),
    ] {
        let topic = unique(command);
        let body = vec![b'x'; WHOLE];
        let wire = match command {
            "PUB" => publish(&topic, &body),
            "DPUB" => publish_deferred(&topic, 1, &body),
            _ => publish_many(&topic, &[&body]),
        };
        let (head, tail) = wire.split_at(wire.len() - 1000);
        // Those who leave in the middle leave nothing.
        for _ in 0..5 {
            let mut leaving = target.client().await;
            leaving.send(head).await;
            leaving.stream.shutdown().await.unwrap();
            let (kind, words) = leaving.frame().await;
            let words = String::from_utf8(words).unwrap();
            assert!(kind == 1 && words.contains("failed to read"), "{words}");
            leaving.expect_close().await;
        }
        let (mut one, mut other) = (target.client().await, target.client().await);
        one.send(head).await;
        other.send(head).await;
        // There is room for one of them.
        let refused = tokio::select! {
            frame = one.frame() => { std::mem::swap(&mut one, &mut other); frame }
            frame = other.frame() => frame,
        };
        let words = format!("{refusal} failed the broker is full: max_memory is 400000 bytes");
        assert_eq!(
            (refused.0, String::from_utf8(refused.1).unwrap()),
            (1, words),
            "{command}"
        );
        one.send(tail).await;
        one.expect_response("OK").await;
        // It goes, so that the next one has room.
        let mut subscriber = target.subscriber(&topic, "c", 1).await;
        let id = subscriber.message().await.id;
        subscriber.send(format!("FIN {id}\n").as_bytes()).await;
        subscriber.expect_quiet().await;
    }
}

#[tokio::test]
async fn messages_in_flight_take_memory_until_they_are_finished() {
    let target = Target::embedded(BrokerConfig::default().max_memory(100_000)).await;
    let topic = unique("in_flight");
    let mut hoarder = target.subscriber(&topic, "c", 100).await;
    hoarder.expect_quiet().await;
    let mut publisher = target.client().await;
    let body = vec![b'x'; 30_000];
    let mut ids = Vec::new();
    for _ in 0..3 {
        publisher.publish(&topic, &body).await;
        ids.push(hoarder.message().await.id);
    }
    publisher.send(&publish(&topic, &body)).await;
    publisher
        .expect_fatal("E_PUB_FAILED PUB failed the broker is full: max_memory is 100000 bytes")
        .await;

    for id in ids {
        hoarder.send(format!("FIN {id}\n").as_bytes()).await;
    }
    hoarder.send(b"RDY 100\n").await;
    hoarder.expect_quiet().await;
    let mut publisher = target.client().await;
    publisher.publish(&topic, &body).await;
    hoarder.message().await;
}

#[tokio::test]
async fn a_full_broker_drops_what_an_ephemeral_channel_would_have_in_flight() {
    let target = Target::embedded(BrokerConfig::default().max_memory(100_000)).await;
    let topic = unique("in_flight");
    let mut hoarder = target.subscriber(&topic, "c#ephemeral", 100).await;
    hoarder.expect_quiet().await;
    let mut publisher = target.client().await;
    let body = vec![b'x'; 30_000];
    for _ in 0..10 {
        publisher.publish(&topic, &body).await;
    }
    for _ in 0..3 {
        hoarder.message().await;
    }
    hoarder.expect_quiet().await;
}

#[tokio::test]
async fn consumers_beyond_the_limit_of_a_channel_are_refused_until_one_leaves() {
    let target = Target::embedded(BrokerConfig::default().max_channel_consumers(1)).await;
    let topic = unique("crowd");
    let mut first = target.subscriber(&topic, "c", 0).await;
    first.expect_quiet().await;
    let mut second = target.client().await;
    second.send(format!("SUB {topic} c\n").as_bytes()).await;
    second
        .expect_fatal(&format!(
            "E_SUB_FAILED SUB failed consumers for {topic}:c exceeds limit of 1"
        ))
        .await;
    // Another channel has a limit of its own.
    target.subscriber(&topic, "d", 0).await.expect_quiet().await;

    first.send(b"CLS\n").await;
    first.expect_response("CLOSE_WAIT").await;
    first.stream.shutdown().await.unwrap();
    first.expect_close().await;
    target.subscriber(&topic, "c", 0).await.expect_quiet().await;
}

#[tokio::test]
async fn the_consumer_who_makes_room_is_let_into_a_full_broker() {
    let target = Target::embedded(BrokerConfig::default().max_memory(50_000)).await;
    let topic = unique("full");
    let mut published = 0;
    let mut publisher = target.client().await;
    loop {
        publisher.send(&publish(&topic, &[b'x'; 100])).await;
        if publisher.frame().await.0 == 1 {
            break;
        }
        published += 1;
    }
    let mut consumer = target.subscriber(&topic, "late", 1).await;
    for _ in 0..published {
        let id = consumer.message().await.id;
        consumer.send(format!("FIN {id}\n").as_bytes()).await;
    }
    consumer.expect_quiet().await;
}
