//! Clients that are slow, that are too many, or that speak another protocol.

use std::time::Duration;

use almanet_broker::BrokerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    http::Answer,
    support::{PATIENCE, Target, eventually, publish},
};

#[tokio::test]
async fn an_nsq_client_at_the_http_port_gets_an_http_error() {
    let target = Target::start().await;
    let mut stream = target.http_stream().await;
    stream.write_all(b"  V2IDENTIFY\n\0\0\0\x02{}\n\n").await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 400);
}

#[tokio::test]
async fn an_http_client_at_the_tcp_port_gets_an_nsq_error() {
    let target = Target::start().await;
    let mut client = target.silent_client().await;
    client.send(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await;
    if target.is_embedded() {
        client.expect_fatal("E_BAD_PROTOCOL").await;
    } else {
        // nsqd frames it with the size of the text alone.
        let mut answer = Vec::new();
        let _ = client.stream.read_to_end(&mut answer).await;
        assert!(answer.ends_with(b"E_BAD_PROTOCOL"), "{}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let target = Target::start().await;
    let mut stream = target.http_stream().await;
    stream
        .write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\nGET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut both = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut both))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(both.matches("HTTP/1.1 200 OK").count(), 2, "{both}");
}

/// Waits for the end of a connection; gives what came before it.
async fn until_close(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE * 10, stream.read_to_end(&mut bytes))
        .await
        .expect("the connection stays open");
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_given_up() {
    let target = Target::embedded(BrokerConfig::default()).await;
    for part in [&b""[..], b"GET /ping HT", b"GET /ping HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = target.http_stream().await;
        stream.write_all(part).await.unwrap();
        let began = Instant::now();
        let answer = until_close(&mut stream).await;
        assert!(!answer.contains("200"), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_or_trickles_is_given_up_and_publishes_nothing() {
    let target = Target::embedded(BrokerConfig::default()).await;
    let head = b"POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n";
    let began = Instant::now();
    let mut stuck = target.http_stream().await;
    stuck.write_all(head).await.unwrap();
    let answer = until_close(&mut stuck).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");

    let mut trickling = target.http_stream().await;
    trickling.write_all(head).await.unwrap();
    let (mut answers, mut bytes) = trickling.into_split();
    let trickle = async {
        while bytes.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
    };
    let mut status = vec![0; 12];
    tokio::select! {
        answered = answers.read_exact(&mut status) => assert_eq!(answered.unwrap(), 12),
        () = trickle => {}
    }
    assert_eq!(status, b"HTTP/1.1 408");
    assert!(
        began.elapsed() < Duration::from_secs(180),
        "{:?}",
        began.elapsed()
    );
    let stats = target.get("/stats?format=json").await.json();
    assert_eq!(stats["topics"], serde_json::json!([]));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let target = Target::embedded(BrokerConfig::default()).await;
    let mut stream = target.http_stream().await;
    stream
        .write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let answer = until_close(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_answers_is_given_up() {
    let target = Target::embedded(BrokerConfig::default().max_http_connections(1)).await;
    let mut publisher = target.client().await;
    for number in 0..1000 {
        publisher.send(&publish(&format!("topic_{number}"), b"x")).await;
    }
    for _ in 0..1000 {
        publisher.expect_response("OK").await;
    }
    // Several megabytes of answers: more than the sockets take.
    let mut silent = target.http_stream().await;
    let requests = "GET /stats?format=json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    silent.write_all(requests.as_bytes()).await.unwrap();
    silent.readable().await.unwrap();
    let mut refused = target.http_stream().await;
    assert_eq!(Answer::read(&mut refused).await.status, 503);
    let began = Instant::now();
    while target.get("/ping").await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(60), "it is kept");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let target = Target::embedded(BrokerConfig::default()).await;
    let mut stream = target.http_stream().await;
    let filler = "x".repeat(300 * 1024);
    let head = format!("GET /ping HTTP/1.1\r\nHost: x\r\nX-Filler: {filler}\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = vec![0; 12];
    timeout(PATIENCE, stream.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer, b"HTTP/1.1 431");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so_and_there_is_room_again_after_one() {
    let target = Target::embedded(BrokerConfig::default().max_http_connections(1)).await;
    let mut first = target.http_stream().await;
    first
        .write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = target.http_stream().await;
    assert_eq!(Answer::read(&mut second).await.status, 503);
    drop(first);
    eventually(async || target.get("/ping").await.status == 200).await;
}

#[tokio::test]
async fn stopping_ends_idle_and_unfinished_requests() {
    let target = Target::embedded(BrokerConfig::default()).await;
    let address = target.http_addr;
    let mut idle = target.http_stream().await;
    idle.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut unfinished = target.http_stream().await;
    unfinished
        .write_all(b"POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
        .await
        .unwrap();
    timeout(PATIENCE, target.stop()).await.expect("it never stops");
    until_close(&mut idle).await;
    until_close(&mut unfinished).await;
    assert!(TcpStream::connect(address).await.is_err());
}
