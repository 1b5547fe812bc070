//! Bodies of requests within the limit of memory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use almanet_broker::BrokerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
};

use crate::{
    http::{Answer, expect_message},
    support::{Target, eventually, publish},
};

const BODY: usize = 256 * 1024;
const LIMIT: usize = 4 * BODY;
const CLIENTS: usize = 100;

/// The head of a request whose lines, all empty, publish nothing.
fn request_head(length: usize) -> String {
    format!("POST /mpub?topic=t HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
}

/// Sends all of a body but its last byte, as far as it is taken, and that when `finish` says so; gives the answer.
async fn publish_slowly(
    mut stream: TcpStream,
    refused: Arc<AtomicUsize>,
    mut finish: watch::Receiver<()>,
) -> Answer {
    stream.write_all(request_head(BODY).as_bytes()).await.unwrap();
    // A refused client learns of it while it sends.
    let _ = stream.write_all(&vec![b'\n'; BODY - 1]).await;
    let mut first = [0];
    tokio::select! {
        _ = stream.peek(&mut first) => {
            refused.fetch_add(1, Ordering::Relaxed);
        }
        _ = finish.changed() => stream.write_all(b"\n").await.unwrap(),
    }
    Answer::read(&mut stream).await
}

#[tokio::test]
async fn large_bodies_take_no_more_than_there_is_room_for() {
    let target = Target::embedded(BrokerConfig::default().max_memory(LIMIT)).await;
    let refused = Arc::new(AtomicUsize::new(0));
    let (finish, finished) = watch::channel(());
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let stream = target.http_stream().await;
        clients.spawn(publish_slowly(stream, Arc::clone(&refused), finished.clone()));
    }
    let room_for = LIMIT / BODY;
    eventually(async || {
        tokio::task::yield_now().await;
        refused.load(Ordering::Relaxed) >= CLIENTS - room_for
    })
    .await;
    finish.send_replace(());
    let mut published = 0;
    while let Some(answer) = clients.join_next().await {
        let answer = answer.unwrap();
        if answer.status == 200 {
            published += 1;
        } else {
            let words = format!("the broker is full: max_memory is {LIMIT} bytes");
            expect_message(&answer, 503, &words);
        }
    }
    assert!((1..=room_for).contains(&published), "{published}");

    // What they had is free again, also that of those that go away in the middle.
    for _ in 0..2 * room_for {
        let mut stream = target.http_stream().await;
        stream.write_all(request_head(BODY).as_bytes()).await.unwrap();
        stream.write_all(&vec![b'\n'; BODY - 1]).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    for _ in 0..2 * room_for {
        target.post("/mpub?topic=t", &vec![b'\n'; BODY], "OK").await;
    }
    let metrics = target.get("/metrics").await.body;
    let refusals = format!(
        "almanet_broker_refusals_total{{limit=\"max_memory\"}} {}\n",
        CLIENTS - published
    );
    assert!(metrics.contains(&refusals), "{metrics}");
}

#[tokio::test]
async fn commands_and_requests_share_the_limit() {
    let target = Target::embedded(BrokerConfig::default().max_memory(LIMIT)).await;
    let mut client = target.client().await;
    let command = publish("t", &[b'x'; LIMIT / 8 * 5]);
    client.send(&command[..command.len() - 1]).await;
    let mut stream = target.http_stream().await;
    let request = request_head(LIMIT / 8 * 5) + &"\n".repeat(LIMIT / 8 * 5 - 1);
    stream.write_all(request.as_bytes()).await.unwrap();
    // There is room for one of them: whichever goes on when the other one has its half is refused.
    let words = format!("the broker is full: max_memory is {LIMIT} bytes");
    let mut first = [0];
    tokio::select! {
        (_, refusal) = client.frame() => {
            assert_eq!(refusal, format!("E_PUB_FAILED PUB failed {words}").as_bytes());
            stream.write_all(b"\n").await.unwrap();
            assert_eq!(Answer::read(&mut stream).await.status, 200);
        }
        _ = stream.peek(&mut first) => {
            expect_message(&Answer::read(&mut stream).await, 503, &words);
            client.send(&command[command.len() - 1..]).await;
            client.expect_response("OK").await;
        }
    }
}

#[tokio::test]
async fn a_client_whose_body_is_refused_reads_why_when_it_has_sent_it() {
    let target = Target::embedded(BrokerConfig::default()).await;
    let mut stream = target.http_stream().await;
    let chunk = [b"100000\r\n", &[b'x'; 0x10_0000][..], b"\r\n"].concat();
    let head = b"POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head).await.unwrap();
    for _ in 0..16 {
        stream.write_all(&chunk).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.ends_with(r#"{"message":"MSG_TOO_BIG"}"#), "{answer}");
}
