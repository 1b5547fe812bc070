//! The channels of new topics, which nsqlookupd knows from other nodes.

use almanet_broker::BrokerConfig;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    time::timeout,
};

use crate::{
    lookupd::{Lookupd, Registrant, set},
    support::{Client, PATIENCE, Target},
};

/// Answers one HTTP request with a body; gives its first line.
async fn answer_http(listener: &TcpListener, body: &str) -> String {
    let accepted = timeout(PATIENCE, listener.accept()).await;
    let (stream, _) = accepted.expect("no request comes").unwrap();
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await.unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
    }
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    first
}

/// A broker that is registered, the two sides of its nsqlookupd, and a subscriber that keeps an ephemeral topic.
async fn with_http() -> (Target, Registrant, TcpListener, Client) {
    let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lookupd = Lookupd::start().await;
    let target = Target::embedded(lookupd.config()).await;
    let mut registrant = lookupd.accept().await;
    registrant
        .identify_with_http(http.local_addr().unwrap().port())
        .await;
    // It is known where to ask once the broker has read the answer, which is before it registers anything more.
    let known = target.subscriber("known#ephemeral", "c#ephemeral", 0).await;
    registrant.commands(2).await;
    (target, registrant, http, known)
}

#[tokio::test]
async fn a_new_topic_gets_the_channels_that_it_has_elsewhere_before_its_first_message_moves() {
    let (target, mut registrant, http, _known) = with_http().await;
    // The publisher does not wait for nsqlookupd, and the first subscriber does not get what all shall have.
    let mut publisher = target.client().await;
    publisher.publish("orders", b"1").await;
    let mut kitchen = target.subscriber("orders", "kitchen", 10).await;
    let request = answer_http(
        &http,
        r#"{"channels":["audit","mail","tail#ephemeral","not a name"]}"#,
    )
    .await;
    assert_eq!(request, "GET /channels?topic=orders HTTP/1.1\r\n");

    assert_eq!(kitchen.message().await.body, b"1");
    let expected = set([
        "REGISTER orders",
        "REGISTER orders kitchen",
        "REGISTER orders audit",
        "REGISTER orders mail",
    ]);
    assert_eq!(registrant.commands(4).await, expected);
    for channel in ["audit", "mail"] {
        let mut subscriber = target.subscriber("orders", channel, 10).await;
        assert_eq!(subscriber.message().await.body, b"1", "{channel}");
    }
    target.stop().await;
}

#[tokio::test]
async fn an_nsqlookupd_that_does_not_say_which_channels_there_are_holds_nothing_back_for_long() {
    let (target, _registrant, http, _known) = with_http().await;
    let mut publisher = target.client().await;
    publisher.publish("orders", b"1").await;
    let mut subscriber = target.subscriber("orders", "c", 10).await;
    // It accepts, and says nothing.
    let _silent = http.accept().await.unwrap();
    assert_eq!(subscriber.message().await.body, b"1");
    publisher.publish("orders", b"2").await;
    assert_eq!(subscriber.message().await.body, b"2");
    target.stop().await;
}

#[tokio::test]
async fn what_is_held_back_when_the_broker_stops_is_saved() {
    let directory = tempfile::tempdir().unwrap();
    let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lookupd = Lookupd::start().await;
    let config = lookupd.config().data_path(directory.path());
    let target = Target::embedded(config.clone()).await;
    let mut registrant = lookupd.accept().await;
    registrant
        .identify_with_http(http.local_addr().unwrap().port())
        .await;
    let _known = target.subscriber("known#ephemeral", "c#ephemeral", 0).await;
    registrant.commands(2).await;

    let mut publisher = target.client().await;
    for channel in ["a", "b"] {
        target.subscriber("orders", channel, 0).await;
    }
    publisher.publish("orders", b"1").await;
    target.stop().await;

    let target = Target::embedded(BrokerConfig::default().data_path(directory.path())).await;
    for channel in ["a", "b"] {
        let mut subscriber = target.subscriber("orders", channel, 1).await;
        assert_eq!(subscriber.message().await.body, b"1", "{channel}");
    }
    target.stop().await;
}
