//! HTTP over TLS.

use std::{net::SocketAddr, time::Duration};

use almanet_broker::{Broker, BrokerConfig, ClientAuth, TlsBuilder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::rustls::version::TLS13;

use crate::{
    certificates::{Authority, Identity},
    http::Answer,
    securing::tls,
    support::{PATIENCE, Target},
};

async fn broker(tls: TlsBuilder) -> (SocketAddr, Target) {
    let config = BrokerConfig::default()
        .http_address(([127, 0, 0, 1], 0).into())
        .https_address(([127, 0, 0, 1], 0).into())
        .tls(tls.build().unwrap());
    let broker = Broker::start(config).await.unwrap();
    (broker.https_addr().unwrap(), Target::of(broker))
}

/// The answer to a request, unless the broker does not want this client.
async fn ask(
    authority: &Authority,
    identity: Option<&Identity>,
    address: SocketAddr,
    request: &str,
) -> Option<Answer> {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = authority.connect(stream, identity, &[&TLS13]).await.ok()?;
    let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx");
    stream.write_all(request.as_bytes()).await.ok()?;
    // Whether its certificate is wanted, a client learns when it reads.
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    Some(Answer::read(&mut (&head[..]).chain(stream)).await)
}

#[tokio::test]
async fn it_offers_what_http_offers() {
    let authority = Authority::new();
    let (address, target) = broker(tls(&authority)).await;
    let ask = async |request| ask(&authority, None, address, request).await.unwrap();
    assert_eq!(ask("GET /ping").await.body, "OK");
    assert_eq!(ask("POST /pub?topic=t").await.status, 200);
    let mut subscriber = target.subscriber("t", "c", 1).await;
    assert_eq!(subscriber.message().await.body, b"x");
    let stats = ask("GET /stats?format=json").await.json();
    assert_eq!(stats["topics"][0]["topic_name"], "t");
    target.stop().await;
}

#[tokio::test]
async fn where_tls_is_required_it_is_where_plain_clients_are_sent() {
    let authority = Authority::new();
    let (address, target) = broker(tls(&authority).required(true)).await;
    let refused = target.get("/ping").await;
    assert_eq!(refused.status, 403);
    assert_eq!(
        refused.json(),
        serde_json::json!({"message": "TLS_REQUIRED", "https_port": address.port()})
    );
    let answer = ask(&authority, None, address, "GET /ping").await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
}

#[tokio::test]
async fn clients_show_the_certificate_that_is_asked_for() {
    let authority = Authority::new();
    let wanted = tls(&authority)
        .client_auth(ClientAuth::RequireVerify)
        .root_ca_pem(authority.pem());
    let (address, _target) = broker(wanted).await;
    let (known, stranger) = (authority.client("me"), Authority::new().client("me"));
    for (identity, is_wanted) in [(Some(&known), true), (Some(&stranger), false), (None, false)] {
        let answer = ask(&authority, identity, address, "GET /ping").await;
        assert_eq!(answer.is_some(), is_wanted);
    }
}

#[tokio::test]
async fn who_does_not_speak_tls_is_turned_away_and_holds_nobody_up() {
    let authority = Authority::new();
    let (address, target) = broker(tls(&authority)).await;
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET /ping HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, plain.read_to_end(&mut answer))
        .await
        .expect("the connection stays open");
    assert!(!answer.starts_with(b"HTTP"), "{}", answer.escape_ascii());
    let _silent = TcpStream::connect(address).await.unwrap();
    assert!(ask(&authority, None, address, "GET /ping").await.is_some());
    // Nor is the handshake waited for, which has 5 s.
    timeout(Duration::from_secs(4), target.stop())
        .await
        .expect("it does not stop");
}

#[tokio::test]
async fn without_a_certificate_nothing_listens() {
    let config = BrokerConfig::default().https_address(([127, 0, 0, 1], 0).into());
    let broker = Broker::start(config).await.unwrap();
    assert_eq!(broker.https_addr(), None);
    broker.stop().await.unwrap();
}
