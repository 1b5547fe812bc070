//! Snappy and deflate.

use almanet_broker::BrokerConfig;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    packing::Packing,
    support::{Client, Target, identify, publish, publish_many, unique},
};

type Form = (&'static str, fn() -> Packing);

const BOTH: [Form; 2] = [("snappy", Packing::snappy), ("deflate", Packing::deflate)];

/// A connection that is compressed in this form.
async fn compressed(target: &Target, (name, packing): Form) -> Client<TcpStream> {
    let mut client = target.client().await;
    let json = format!(
        r#"{{"feature_negotiation":true,"{name}":true,"output_buffer_size":64,"output_buffer_timeout":25}}"#
    );
    client.send(&identify(&json)).await;
    let answer = answer(&mut client).await;
    assert_eq!(answer[name], true, "{answer}");
    client.packing = Some(packing());
    client.expect_response("OK").await;
    client
}

async fn answer(client: &mut Client<TcpStream>) -> serde_json::Value {
    let (kind, data) = client.frame().await;
    assert_eq!(kind, 0, "{}", data.escape_ascii());
    serde_json::from_slice(&data).unwrap()
}

#[tokio::test]
async fn everything_works_compressed() {
    let target = Target::start().await;
    for form in BOTH {
        let topic = unique("packed");
        let mut client = compressed(&target, form).await;
        client.send(format!("SUB {topic} c\nRDY 10\n").as_bytes()).await;
        client.expect_response("OK").await;
        let mut publisher = compressed(&target, form).await;
        let large = vec![b'x'; 1 << 20];
        for body in [b"small", &large[..], b"small again"] {
            publisher.publish(&topic, body).await;
            let message = client.message().await;
            assert_eq!(message.body, body);
            client.send(format!("FIN {}\n", message.id).as_bytes()).await;
        }
        publisher.send(&publish_many(&topic, &[b"one", b"two"])).await;
        publisher.expect_response("OK").await;
        client.message().await;
        client.message().await;
        client.send(b"FIN 0123456789abcdef\n").await;
        client
            .expect_error("E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight")
            .await;
        client.send(b"CLS\n").await;
        client.expect_response("CLOSE_WAIT").await;
    }
}

#[tokio::test]
async fn refusals_arrive_compressed_and_then_the_end() {
    let target = Target::start().await;
    for form in BOTH {
        let mut client = compressed(&target, form).await;
        client.send(b"NONSENSE\n").await;
        client.expect_fatal("E_INVALID invalid command NONSENSE").await;
    }
}

#[tokio::test]
async fn what_was_written_before_the_end_still_arrives() {
    let target = Target::start().await;
    for form in BOTH {
        let topic = unique("packed_end");
        let mut client = compressed(&target, form).await;
        client.send(&publish(&topic, b"last words").repeat(100)).await;
        client.stream.shutdown().await.unwrap();
        for _ in 0..100 {
            client.expect_response("OK").await;
        }
        client.expect_close().await;
    }
}

#[tokio::test]
async fn a_deflate_stream_ends_as_deflate_has_it() {
    // Embedded only: nsqd just closes.
    let target = Target::embedded(BrokerConfig::default()).await;
    let mut client = compressed(&target, BOTH[1]).await;
    client.send(b"NONSENSE\n").await;
    client.expect_fatal("E_INVALID invalid command NONSENSE").await;
    // Go's clients take an end without deflate's own last block for a failure.
    assert!(client.packing.unwrap().has_ended());
}

#[tokio::test]
async fn heartbeats_are_compressed_too() {
    let target = Target::start().await;
    for (name, packing) in BOTH {
        let mut client = target.client().await;
        let json = format!(r#"{{"feature_negotiation":true,"heartbeat_interval":1000,"{name}":true}}"#);
        client.send(&identify(&json)).await;
        answer(&mut client).await;
        client.packing = Some(packing());
        client.expect_response("OK").await;
        assert!(client.ends_or_beats().await);
    }
}

#[tokio::test]
async fn both_at_once_are_refused() {
    let target = Target::start().await;
    let mut client = target.client().await;
    let json = r#"{"feature_negotiation":true,"snappy":true,"deflate":true}"#;
    client.send(&identify(json)).await;
    client
        .expect_fatal("E_IDENTIFY_FAILED cannot enable both deflate and snappy compression")
        .await;
}

#[tokio::test]
async fn the_level_is_at_most_the_brokers() {
    let target = Target::start().await;
    for (asked, granted) in [
        ("0", 6),
        ("-3", 6),
        ("1", 1),
        ("6", 6),
        ("9", 6),
        ("1000", 6),
        ("null", 6),
    ] {
        let mut client = target.client().await;
        let json = format!(r#"{{"feature_negotiation":true,"deflate":true,"deflate_level":{asked}}}"#);
        client.send(&identify(&json)).await;
        let answer = answer(&mut client).await;
        assert_eq!(answer["deflate_level"], granted, "{asked}");
        assert_eq!(answer["max_deflate_level"], 6);
    }
}

#[tokio::test]
async fn without_negotiation_nothing_changes() {
    let target = Target::start().await;
    let mut client = target.client().await;
    client.send(&identify(r#"{"snappy":true}"#)).await;
    client.expect_response("OK").await;
    client.expect_quiet().await;
}

#[tokio::test]
async fn what_is_switched_off_is_not_granted() {
    let config = BrokerConfig::default().snappy(false).max_deflate_level(2);
    let target = Target::embedded(config).await;
    let mut client = target.client().await;
    // One of the two is off, so there is no conflict.
    let json = r#"{"feature_negotiation":true,"snappy":true,"deflate":true}"#;
    client.send(&identify(json)).await;
    let granted = answer(&mut client).await;
    assert_eq!(
        (&granted["snappy"], &granted["deflate"]),
        (&false.into(), &true.into())
    );
    assert_eq!(
        (&granted["deflate_level"], &granted["max_deflate_level"]),
        (&2.into(), &2.into())
    );

    let target = Target::embedded(BrokerConfig::default().deflate(false)).await;
    let mut client = target.client().await;
    client
        .send(&identify(r#"{"feature_negotiation":true,"deflate":true}"#))
        .await;
    assert_eq!(answer(&mut client).await["deflate"], false);
    client.expect_quiet().await;
}

#[tokio::test]
async fn a_connection_is_upgraded_once() {
    // Embedded only: nsqd would compress what is compressed, and lose what it has read ahead.
    let target = Target::embedded(BrokerConfig::default()).await;
    let mut client = compressed(&target, BOTH[0]).await;
    client
        .send(&identify(r#"{"feature_negotiation":true,"deflate":true}"#))
        .await;
    client
        .expect_fatal("E_IDENTIFY_FAILED IDENTIFY failed the connection is upgraded already")
        .await;
}

#[tokio::test]
async fn commands_may_follow_the_change_without_waiting_for_it() {
    // Embedded only: nsqd loses what it has read ahead.
    let target = Target::embedded(BrokerConfig::default()).await;
    for (name, packing) in BOTH {
        let mut client = target.client().await;
        let mut packing = packing();
        let json = format!(r#"{{"feature_negotiation":true,"{name}":true}}"#);
        let packed = packing.pack(&publish(&unique("early"), b"x"));
        client.send(&[identify(&json), packed].concat()).await;
        answer(&mut client).await;
        client.packing = Some(packing);
        client.expect_response("OK").await;
        client.expect_response("OK").await;
    }
}

#[tokio::test]
async fn garbage_ends_the_connection() {
    let target = Target::start().await;
    for form in BOTH {
        let mut client = compressed(&target, form).await;
        client.packing = None;
        client.send(&[0xff; 1000]).await;
        client.expect_close().await;
    }
}

#[tokio::test]
async fn a_bomb_is_refused_by_the_size_of_what_it_unpacks_to() {
    // Embedded only: nsqd refuses the line as well, but without a word.
    let target = Target::embedded(BrokerConfig::default()).await;
    for form in BOTH {
        let mut client = compressed(&target, form).await;
        // A line of 64 MiB, which is some kilobytes when it is packed.
        let bomb = client.packing.as_mut().unwrap().pack(&vec![b'x'; 64 << 20]);
        let _ = client.stream.write_all(&bomb).await;
        client
            .expect_fatal("E_INVALID failed to read command: line too long")
            .await;
    }
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_leaves_messages_to_others() {
    let target = Target::embedded(BrokerConfig::default()).await;
    let topic = unique("packed_slow");
    let mut slow = compressed(&target, BOTH[0]).await;
    slow.send(format!("SUB {topic} c\nRDY 2500\n").as_bytes()).await;
    slow.expect_response("OK").await;
    slow.expect_quiet().await;
    let mut publisher = target.client().await;
    // What does not shrink, and more than the sockets' buffers and the broker's bound for one client hold together.
    let mut seed = 1u32;
    let body: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    })
    .take(1 << 20)
    .collect();
    for _ in 0..40 {
        publisher.publish(&topic, &body).await;
    }
    let mut quick = target.subscriber(&topic, "c", 1).await;
    let id = quick.message().await.id;
    quick.send(format!("RDY 0\nFIN {id}\n").as_bytes()).await;
    quick.expect_quiet().await;
    for _ in 0..39 {
        assert_eq!(slow.message().await.body, body);
    }
    slow.expect_quiet().await;
}
