//! An HTTP client that knows requests and answers, and the endpoints that are about the broker itself.

use std::io;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{PATIENCE, Target};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Reads an answer that ends with its connection.
    pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Self {
        let mut bytes = Vec::new();
        let end = timeout(PATIENCE, stream.read_to_end(&mut bytes))
            .await
            .expect("no answer came");
        // nsqd closes with a refused body unread, which resets the connection behind the answer.
        if let Err(error) = end {
            assert!(
                error.kind() == io::ErrorKind::ConnectionReset && !bytes.is_empty(),
                "{error}"
            );
        }
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let answer = Self {
            status,
            headers,
            body: body.to_owned(),
        };
        match answer.header("transfer-encoding") {
            Some(_) => Self {
                body: unchunked(body),
                ..answer
            },
            None => answer,
        }
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
}

impl Target {
    pub(crate) async fn http_stream(&self) -> TcpStream {
        TcpStream::connect(self.http_addr).await.unwrap()
    }

    pub(crate) async fn request(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut stream = self.http_stream().await;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        Answer::read(&mut stream).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, b"").await
    }

    /// Expects `POST` to succeed with this body.
    pub(crate) async fn post(&self, path: &str, body: &[u8], expected: &str) {
        let answer = self.request("POST", path, body).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{path}");
        assert_eq!(answer.header("x-nsq-content-type"), Some("nsq; version=1.0"));
    }

    /// Expects `POST` to be refused in nsqd's form.
    pub(crate) async fn expect_refusal(&self, path: &str, body: &[u8], status: u16, message: &str) {
        let answer = self.request("POST", path, body).await;
        expect_message(&answer, status, message);
    }

    /// The statistics of one topic, or null.
    pub(crate) async fn topic_stats(&self, topic: &str) -> Value {
        let topic = topic.replace('#', "%23");
        let stats = self
            .get(&format!("/stats?format=json&topic={topic}"))
            .await
            .json();
        stats["topics"][0].clone()
    }
}

pub(crate) fn expect_message(answer: &Answer, status: u16, message: &str) {
    assert_eq!(
        (answer.status, answer.json()),
        (status, json!({ "message": message }))
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(answer.header("x-nsq-content-type"), Some("nsq; version=1.0"));
}

#[tokio::test]
async fn ping_is_answered() {
    let answer = Target::start().await.get("/ping").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
}

#[tokio::test]
async fn info_says_where_the_broker_is_and_what_it_allows() {
    let target = Target::start().await;
    let answer = target.get("/info").await;
    assert_eq!(answer.status, 200);
    let info = answer.json();
    let mut fields: Vec<_> = info.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "broadcast_address",
            "hostname",
            "http_port",
            "max_deflate_level",
            "max_heartbeat_interval",
            "max_output_buffer_size",
            "max_output_buffer_timeout",
            "start_time",
            "tcp_port",
            "version",
        ]
    );
    assert_eq!(info["tcp_port"], target.addr.port());
    assert_eq!(info["http_port"], target.http_addr.port());
    assert_eq!(info["max_heartbeat_interval"], 60_000_000_000_u64);
    assert_eq!(info["max_output_buffer_timeout"], 30_000_000_000_u64);
    assert_eq!(info["max_output_buffer_size"], 65_536);
    assert_eq!(info["max_deflate_level"], 6);
    assert!(info["version"].as_str().unwrap().starts_with("1.3.0"));
    if target.is_embedded() {
        assert_eq!(info["broadcast_address"], info["hostname"]);
    }
}

#[tokio::test]
async fn the_broadcast_address_is_told() {
    let config = almanet_broker::BrokerConfig::default().broadcast_address("broker.example");
    let target = Target::embedded(config).await;
    assert_eq!(
        target.get("/info").await.json()["broadcast_address"],
        "broker.example"
    );
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_refused() {
    let target = Target::start().await;
    expect_message(&target.get("/nowhere").await, 404, "NOT_FOUND");
    for (method, path) in [
        ("GET", "/pub"),
        ("POST", "/stats"),
        ("DELETE", "/topic/delete"),
        ("POST", "/config/x"),
    ] {
        let answer = target.request(method, path, b"").await;
        expect_message(&answer, 405, "METHOD_NOT_ALLOWED");
    }
}

#[tokio::test]
async fn the_list_of_nsqlookupds_is_read_and_written() {
    // Embedded only: an nsqd would try to reach what it is told.
    let target = Target::embedded(almanet_broker::BrokerConfig::default()).await;
    let path = "/config/nsqlookupd_tcp_addresses";
    assert_eq!(target.get(path).await.json(), json!([]));
    let addresses = br#"["127.0.0.1:4160","127.0.0.2:4160"]"#;
    let answer = target.request("PUT", path, addresses).await;
    assert_eq!(
        (answer.status, answer.body.as_bytes()),
        (200, addresses.as_slice())
    );
    assert_eq!(target.get(path).await.body.as_bytes(), addresses);
}

#[tokio::test]
async fn bad_settings_are_refused_and_change_nothing() {
    let target = Target::start().await;
    let path = "/config/nsqlookupd_tcp_addresses";
    let before = target.get(path).await.body;
    for (body, status) in [(&b""[..], 413), (b"host:4160", 400), (b"[1]", 400), (b"{}", 400)] {
        expect_message(&target.request("PUT", path, body).await, status, "INVALID_VALUE");
    }
    let large = vec![b' '; 1024 * 1024 + 1];
    expect_message(&target.request("PUT", path, &large).await, 413, "INVALID_VALUE");
    assert_eq!(target.get(path).await.body, before);
    expect_message(&target.get("/config/nothing").await, 400, "INVALID_OPTION");
    let answer = target.request("PUT", "/config/nothing", b"1").await;
    expect_message(&answer, 400, "INVALID_OPTION");
}
