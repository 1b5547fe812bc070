//! Clients that behave badly, and many of them.

use almanet_broker::BrokerConfig;
use tokio::{io::AsyncWriteExt, task::JoinSet};

use crate::support::{Target, eventually, publish, unique};

#[tokio::test]
async fn a_client_that_shuts_its_write_side_gets_its_answers_and_the_end() {
    let target = Target::start().await;
    let topic = unique("half");
    let mut client = target.client().await;
    client.send(&publish(&topic, b"last words")).await;
    client.stream.shutdown().await.unwrap();
    client.expect_response("OK").await;
    client.expect_close().await;
    let mut subscriber = target.subscriber(&topic, "c", 1).await;
    assert_eq!(subscriber.message().await.body, b"last words");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_message_publishes_nothing() {
    let target = Target::start().await;
    let topic = unique("cut_off");
    let mut client = target.client().await;
    client
        .send(&[format!("PUB {topic}\n").as_bytes(), b"\0\0\0\x0ahalf"].concat())
        .await;
    client.stream.shutdown().await.unwrap();
    client
        .expect_fatal("E_BAD_MESSAGE PUB failed to read message body")
        .await;
    let mut subscriber = target.subscriber(&topic, "c", 1).await;
    subscriber.expect_quiet().await;
}

#[tokio::test]
async fn a_line_without_an_end_is_refused() {
    let target = Target::embedded(BrokerConfig::default()).await;
    let mut client = target.client().await;
    client.send(&vec![b'x'; 17 * 1024]).await;
    client
        .expect_fatal("E_INVALID failed to read command: line too long")
        .await;
}

#[tokio::test]
async fn garbage_harms_nobody_else() {
    let target = Target::start().await;
    let topic = unique("garbage");
    let mut subscriber = target.subscriber(&topic, "c", 10).await;
    subscriber.expect_quiet().await;
    for seed in 0..50u32 {
        let mut client = target.client().await;
        let garbage: Vec<u8> = (0..200u32)
            .map(|i| (seed.wrapping_mul(2_654_435_761).wrapping_add(i * i * 40_503) >> 7) as u8)
            .chain(*b"\n")
            .collect();
        client.send(&garbage).await;
        let (kind, _) = client.frame().await;
        assert_eq!(kind, 1);
    }
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"fine").await;
    assert_eq!(subscriber.message().await.body, b"fine");
}

#[tokio::test]
async fn hundreds_of_clients_are_served_at_once() {
    let target = Target::start().await;
    let topic = unique("crowd");
    let mut subscriber = target.subscriber(&topic, "c", 2500).await;
    subscriber.expect_quiet().await;
    let mut clients = Vec::new();
    for _ in 0..300 {
        clients.push(target.client().await);
    }
    let mut crowd = JoinSet::new();
    for mut client in clients {
        let topic = topic.clone();
        crowd.spawn(async move {
            client.publish(&topic, b"x").await;
            client
        });
    }
    let all = crowd.join_all().await;
    for _ in 0..all.len() {
        subscriber.message().await;
    }
}

#[tokio::test]
async fn thousands_of_clients_come_and_go_and_leave_nothing_behind() {
    const CLIENTS: usize = 3000;
    let target = Target::embedded(BrokerConfig::default().max_connections(200)).await;
    let topic = unique("rush");
    let mut subscriber = target.subscriber(&topic, "c", 2500).await;
    subscriber.expect_quiet().await;
    for batch in 0..CLIENTS / 100 {
        let mut leaving = Vec::new();
        for number in 0..100 {
            let mut client = target.silent_client().await;
            // Some say nothing, some begin, some are in the middle of something, and some have asked for messages.
            match number % 4 {
                0 => {}
                1 => client.send(b"  V").await,
                2 => client.send(b"  V2MPUB t\n\0\x4f\xff\xff\0\0\0\x01").await,
                _ => {
                    client
                        .send(format!("  V2SUB {topic} own_{number}#ephemeral\nRDY 10\n").as_bytes())
                        .await;
                }
            }
            leaving.push(client);
        }
        drop(leaving);
        // Each batch has gone before the next comes, or there would be no room for it.
        eventually(async || open_connections(&target).await == 1).await;
        let mut publisher = target.client().await;
        publisher.publish(&topic, batch.to_string().as_bytes()).await;
        assert_eq!(subscriber.message().await.body, batch.to_string().as_bytes());
        drop(publisher);
        eventually(async || open_connections(&target).await == 1).await;
    }
    let channels = target.topic_stats(&topic).await["channels"].clone();
    assert_eq!(channels.as_array().unwrap().len(), 1, "{channels}");
}

async fn open_connections(target: &Target) -> u64 {
    let metrics = target.get("/metrics").await.body;
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix("almanet_broker_connections "));
    value.expect("the metric").parse().unwrap()
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_leaves_messages_to_others() {
    let target = Target::embedded(BrokerConfig::default()).await;
    let topic = unique("slow");
    let mut slow = target.subscriber(&topic, "c", 2500).await;
    slow.expect_quiet().await;
    let mut publisher = target.client().await;
    // More than the sockets' buffers and the broker's bound for one client hold together.
    let body = vec![b'x'; 1 << 20];
    for _ in 0..40 {
        publisher.publish(&topic, &body).await;
    }
    let mut quick = target.subscriber(&topic, "c", 1).await;
    let id = quick.message().await.id;
    quick.send(format!("RDY 0\nFIN {id}\n").as_bytes()).await;
    quick.expect_quiet().await;
    // And once it reads, it gets messages again: those that were on their way, and the others. It answers none, so
    // that nothing but its reading makes the broker go on.
    for _ in 0..39 {
        slow.message().await;
    }
    slow.expect_quiet().await;
}

#[tokio::test]
async fn a_publisher_that_does_not_read_its_answers_is_slowed_down_and_loses_nothing() {
    let target = Target::start().await;
    let topic = unique("deaf");
    let one = publish(&topic, b"x");
    let count = 200_000;
    let client = target.client().await;
    let (mut reader, mut writer) = client.stream.into_split();
    let writing = tokio::spawn(async move {
        for _ in 0..count / 1000 {
            writer.write_all(&one.repeat(1000)).await.unwrap();
        }
        writer
    });
    let mut answers = 0;
    let mut buffer = vec![0; 64 * 1024];
    while answers < count * 10 {
        let length = tokio::io::AsyncReadExt::read(&mut reader, &mut buffer)
            .await
            .unwrap();
        assert!(length > 0);
        answers += length;
    }
    assert_eq!(answers, count * 10);
    drop(writing.await.unwrap());
}
