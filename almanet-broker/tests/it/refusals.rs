//! Every refusal in nsqd's words, and the close after the fatal ones.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Target, identify, publish, unique};

const ID: &str = "0123456789abcdef";

#[tokio::test]
async fn another_magic_is_refused() {
    let target = Target::start().await;
    for magic in [&b"  V1"[..], b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0\0"] {
        let mut client = target.silent_client().await;
        client.send(magic).await;
        client.expect_fatal("E_BAD_PROTOCOL").await;
    }
}

#[tokio::test]
async fn commands_that_need_a_subscription_are_refused_without_one() {
    let target = Target::start().await;
    for (line, name) in [
        ("RDY 1\n".to_owned(), "RDY"),
        (format!("FIN {ID}\n"), "FIN"),
        (format!("REQ {ID} 0\n"), "REQ"),
        (format!("TOUCH {ID}\n"), "TOUCH"),
        ("CLS\n".to_owned(), "CLS"),
    ] {
        let mut client = target.client().await;
        client.send(line.as_bytes()).await;
        client
            .expect_fatal(&format!("E_INVALID cannot {name} in current state"))
            .await;
    }
}

#[tokio::test]
async fn a_subscribed_connection_refuses_to_begin_anew() {
    let target = Target::start().await;
    let topic = unique("again");
    for (command, name) in [
        (format!("SUB {topic} c\n").into_bytes(), "SUB"),
        (identify("{}"), "IDENTIFY"),
        (b"AUTH\n\0\0\0\x01x".to_vec(), "AUTH"),
    ] {
        let mut client = target.subscriber(&topic, "c", 0).await;
        client.send(&command).await;
        client
            .expect_fatal(&format!("E_INVALID cannot {name} in current state"))
            .await;
    }
}

#[tokio::test]
async fn auth_is_disabled() {
    let target = Target::start().await;
    let mut client = target.client().await;
    client.send(b"AUTH\n\0\0\0\x06secret").await;
    client.expect_fatal("E_AUTH_DISABLED AUTH disabled").await;
}

#[tokio::test]
async fn a_subscription_needs_heartbeats() {
    let target = Target::start().await;
    let mut client = target.client().await;
    client.send(&identify(r#"{"heartbeat_interval":-1}"#)).await;
    client.expect_response("OK").await;
    client.send(b"SUB topic channel\n").await;
    client
        .expect_fatal("E_INVALID cannot SUB with heartbeats disabled")
        .await;
}

#[tokio::test]
async fn ready_counts_beyond_the_maximum_are_refused() {
    let target = Target::start().await;
    let topic = unique("ready");
    let mut client = target.subscriber(&topic, "c", 2500).await;
    client.send(b"RDY 2501\n").await;
    client
        .expect_fatal("E_INVALID RDY count 2501 out of range 0-2500")
        .await;
}

#[tokio::test]
async fn lines_that_are_no_commands_are_refused() {
    let target = Target::start().await;
    for (line, words) in [
        ("HELLO there\n", "E_INVALID invalid command HELLO"),
        ("\n", "E_INVALID invalid command "),
        ("pub t\n", "E_INVALID invalid command pub"),
        ("SUB t\n", "E_INVALID SUB insufficient number of parameters"),
        ("SUB t$ c\n", "E_BAD_TOPIC SUB topic name \"t$\" is not valid"),
        ("SUB t c$\n", "E_BAD_CHANNEL SUB channel name \"c$\" is not valid"),
        ("PUB\n", "E_INVALID PUB insufficient number of parameters"),
        ("PUB $\n", "E_BAD_TOPIC PUB topic name \"$\" is not valid"),
        ("DPUB t\n", "E_INVALID DPUB insufficient number of parameters"),
        ("DPUB t soon\n", "E_INVALID DPUB could not parse timeout soon"),
        ("AUTH me\n", "E_INVALID AUTH invalid number of parameters"),
    ] {
        let mut client = target.client().await;
        client.send(line.as_bytes()).await;
        client.expect_fatal(words).await;
    }
}

#[tokio::test]
async fn answers_to_what_is_not_in_flight_are_refused_and_the_connection_goes_on() {
    let target = Target::start().await;
    let mut client = target.subscriber(&unique("answers"), "c", 1).await;
    client.send(format!("FIN {ID}\n").as_bytes()).await;
    client
        .expect_error(&format!("E_FIN_FAILED FIN {ID} failed ID not in flight"))
        .await;
    client.send(format!("REQ {ID} 0\n").as_bytes()).await;
    client
        .expect_error(&format!("E_REQ_FAILED REQ {ID} failed ID not in flight"))
        .await;
    client.send(format!("TOUCH {ID}\n").as_bytes()).await;
    client
        .expect_error(&format!("E_TOUCH_FAILED TOUCH {ID} failed ID not in flight"))
        .await;
    client.expect_quiet().await;
}

#[tokio::test]
async fn another_subscribers_message_cannot_be_answered() {
    let target = Target::start().await;
    let topic = unique("owner");
    let mut owner = target.subscriber(&topic, "c", 1).await;
    owner.expect_quiet().await;
    let mut thief = target.subscriber(&topic, "c", 0).await;
    thief.publish(&topic, b"mine").await;
    let id = owner.message().await.id;
    thief.send(format!("FIN {id}\n").as_bytes()).await;
    thief
        .expect_error(&format!(
            "E_FIN_FAILED FIN {id} failed client does not own message"
        ))
        .await;
}

#[tokio::test]
async fn what_came_before_a_refusal_is_done_and_answered() {
    let target = Target::start().await;
    let topic = unique("before");
    let mut client = target.client().await;
    client
        .send(
            &[
                &publish(&topic, b"kept")[..],
                b"NONSENSE\n",
                &publish(&topic, b"never"),
            ]
            .concat(),
        )
        .await;
    client.expect_response("OK").await;
    client.expect_error("E_INVALID invalid command NONSENSE").await;
    let mut subscriber = target.subscriber(&topic, "c", 10).await;
    assert_eq!(subscriber.message().await.body, b"kept");
    subscriber.expect_quiet().await;
}

#[tokio::test]
async fn the_words_of_a_refusal_arrive_although_the_client_goes_on_sending() {
    // Embedded only: nsqd closes with unread input, and the reset can overtake the error frame.
    let target = Target::embedded(almanet_broker::BrokerConfig::default()).await;
    let mut client = target.client().await;
    client.send(b"NONSENSE\n").await;
    client.send(&vec![b'x'; 1 << 20]).await;
    client.expect_error("E_INVALID invalid command NONSENSE").await;
    // An orderly end: after a reset, neither reading nor writing would go without an error.
    assert_eq!(client.stream.read(&mut [0]).await.unwrap(), 0);
    client.stream.write_all(b"more").await.unwrap();
}
