//! PUB, MPUB and DPUB.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::{Target, publish, publish_deferred, publish_many, sized, unique};

#[tokio::test]
async fn a_message_carries_its_time_its_id_and_its_attempts() {
    let target = Target::start().await;
    let topic = unique("message");
    let mut client = target.subscriber(&topic, "c", 1).await;
    let before = unix_nanos();
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"hello").await;
    let message = client.message().await;
    assert_eq!(message.attempts, 1);
    assert!(
        message.id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{}",
        message.id
    );
    assert!((before..=unix_nanos()).contains(&message.timestamp));
    assert_eq!(message.body, b"hello");
}

#[tokio::test]
async fn messages_before_the_first_channel_go_to_the_first_channel() {
    let target = Target::start().await;
    let topic = unique("first");
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"1").await;
    publisher.publish(&topic, b"2").await;
    let mut first = target.subscriber(&topic, "first", 10).await;
    let mut bodies = [first.message().await.body, first.message().await.body];
    bodies.sort();
    assert_eq!(bodies, [b"1", b"2"]);
    let mut second = target.subscriber(&topic, "second", 10).await;
    second.expect_quiet().await;
}

#[tokio::test]
async fn each_channel_gets_a_copy() {
    let target = Target::start().await;
    let topic = unique("copies");
    let mut one = target.subscriber(&topic, "one", 10).await;
    let mut two = target.subscriber(&topic, "two", 10).await;
    let mut publisher = target.client().await;
    publisher.publish(&topic, b"copied").await;
    let (first, second) = (one.message().await, two.message().await);
    assert_eq!(first, second);
    one.send(format!("FIN {}\n", first.id).as_bytes()).await;
    one.expect_quiet().await;
    two.send(format!("FIN {}\n", second.id).as_bytes()).await;
    two.expect_quiet().await;
}

#[tokio::test]
async fn many_messages_are_taken_with_one_ok() {
    let target = Target::start().await;
    let topic = unique("many");
    let mut subscriber = target.subscriber(&topic, "c", 10).await;
    let mut publisher = target.client().await;
    publisher
        .send(&publish_many(&topic, &[b"a", b"bc", b"def"]))
        .await;
    publisher.expect_response("OK").await;
    publisher.expect_quiet().await;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        bodies.push(subscriber.message().await.body);
    }
    bodies.sort();
    assert_eq!(bodies, [&b"a"[..], b"bc", b"def"]);
}

#[tokio::test]
async fn an_mpub_that_lies_is_refused_and_publishes_nothing() {
    let target = Target::start().await;
    let topic = unique("lies");
    let count_0 = b"\0\0\0\0";
    let count_negative = b"\xff\xff\xff\xff";
    let empty_second = [&b"\0\0\0\x02"[..], &sized(b"ok"), b"\0\0\0\0"].concat();
    let negative_second = [&b"\0\0\0\x02"[..], &sized(b"ok"), b"\xff\xff\xff\xfe"].concat();
    let big_second = [&b"\0\0\0\x02"[..], &sized(b"ok"), b"\0\x10\0\x01"].concat();
    for (body, words) in [
        (&count_0[..], "E_BAD_BODY MPUB invalid message count 0"),
        (&count_negative[..], "E_BAD_BODY MPUB invalid message count -1"),
        (&empty_second, "E_BAD_MESSAGE MPUB invalid message(1) body size 0"),
        (
            &negative_second,
            "E_BAD_MESSAGE MPUB invalid message(1) body size -2",
        ),
        (
            &big_second,
            "E_BAD_MESSAGE MPUB message too big 1048577 > 1048576",
        ),
    ] {
        let mut client = target.client().await;
        client
            .send(&[format!("MPUB {topic}\n").as_bytes(), &sized(body)].concat())
            .await;
        client.expect_fatal(words).await;
    }
    let mut subscriber = target.subscriber(&topic, "c", 10).await;
    subscriber.expect_quiet().await;
}

#[tokio::test]
async fn sizes_that_are_not_allowed_are_refused() {
    let target = Target::start().await;
    let topic = unique("sizes");
    for (size, words) in [
        (0, "E_BAD_MESSAGE PUB invalid message body size 0"),
        (-1, "E_BAD_MESSAGE PUB invalid message body size -1"),
        (1_048_577, "E_BAD_MESSAGE PUB message too big 1048577 > 1048576"),
        (i32::MAX, "E_BAD_MESSAGE PUB message too big 2147483647 > 1048576"),
    ] {
        for command in ["PUB", "DPUB"] {
            let delay = if command == "DPUB" { " 0" } else { "" };
            let mut client = target.client().await;
            let line = format!("{command} {topic}{delay}\n");
            client
                .send(&[line.as_bytes(), &i32::to_be_bytes(size)].concat())
                .await;
            client.expect_fatal(&words.replace("PUB", command)).await;
        }
    }
    for (size, words) in [
        (0, "E_BAD_BODY MPUB invalid body size 0"),
        (-5, "E_BAD_BODY MPUB invalid body size -5"),
        (5_242_881, "E_BAD_BODY MPUB body too big 5242881 > 5242880"),
    ] {
        let mut client = target.client().await;
        let line = format!("MPUB {topic}\n");
        client
            .send(&[line.as_bytes(), &i32::to_be_bytes(size)].concat())
            .await;
        client.expect_fatal(words).await;
    }
}

#[tokio::test]
async fn the_largest_message_goes_through() {
    let target = Target::start().await;
    let topic = unique("largest");
    let mut subscriber = target.subscriber(&topic, "c", 1).await;
    let body = vec![b'x'; 1 << 20];
    let mut publisher = target.client().await;
    publisher.publish(&topic, &body).await;
    assert!(subscriber.message().await.body == body);
}

#[tokio::test]
async fn a_deferred_message_comes_after_its_delay() {
    let target = Target::start().await;
    let topic = unique("deferred");
    let mut subscriber = target.subscriber(&topic, "c", 10).await;
    let mut publisher = target.client().await;
    let start = Instant::now();
    publisher.send(&publish_deferred(&topic, 300, b"later")).await;
    publisher.expect_response("OK").await;
    publisher.publish(&topic, b"now").await;
    assert_eq!(subscriber.message().await.body, b"now");
    let late = subscriber.message().await;
    assert_eq!((late.body.as_slice(), late.attempts), (&b"later"[..], 1));
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(300), "{waited:?}");
}

#[tokio::test]
async fn delays_beyond_the_maximum_are_refused() {
    let target = Target::start().await;
    let mut client = target.client().await;
    client.send(&publish_deferred("t", 3_600_001, b"x")).await;
    client
        .expect_fatal("E_INVALID DPUB timeout 3600001 out of range 0-3600000")
        .await;
}

#[tokio::test]
async fn a_command_that_arrives_byte_by_byte_is_understood() {
    let target = Target::start().await;
    let topic = unique("bytes");
    let mut client = target.silent_client().await;
    client.stream.set_nodelay(true).unwrap();
    for byte in [b"  V2", &publish(&topic, b"slow")[..]].concat() {
        client.send(&[byte]).await;
    }
    client.expect_response("OK").await;
    let mut subscriber = target.subscriber(&topic, "c", 1).await;
    assert_eq!(subscriber.message().await.body, b"slow");
}

fn unix_nanos() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}
