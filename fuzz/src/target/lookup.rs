//! What nsqlookupd answers.

use almanet_nsq::{Lookup, LookupConfig, TopicName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::runtime::run;

/// The body of an answer, good or bad by its first byte: nodes that can be connected to, or an error.
pub fn lookup(data: &[u8]) {
    let (status, body) = match data.split_first() {
        Some((0..=127, body)) => ("200 OK", body),
        Some((_, body)) => ("404 Not Found", body),
        None => return,
    };
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let lookup = Lookup::new([address], LookupConfig::default()).expect("a lookup");
        let topic = TopicName::new("topic").expect("a name");
        let answering = async {
            let (mut stream, _) = listener.accept().await.expect("a question");
            let mut question = Vec::new();
            while !question.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut question).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let answer = [head.as_bytes(), body].concat();
            let _ = stream.write_all(&answer).await;
        };
        let (nodes, ()) = tokio::join!(lookup.nodes_with(&topic), answering);
        if let Ok(mut nodes) = nodes {
            for node in nodes.current().iter() {
                let (host, port) = node.rsplit_once(':').expect("a node without a port");
                assert!(!host.is_empty() && host.len() <= 255, "{node:?}");
                assert!(port.parse::<u16>().is_ok_and(|port| port > 0), "{node:?}");
                assert!(!node.contains(char::is_whitespace) && !node.contains(char::is_control));
            }
        }
    });
}

pub(crate) fn lookup_seeds() -> Vec<Vec<u8>> {
    vec![
        br#" {"channels":["c"],"producers":[{"broadcast_address":"node-1.example","tcp_port":4150}]}"#
            .to_vec(),
        br#" {"producers":[{"broadcast_address":"::1","tcp_port":4150},{"tcp_port":70000}]}"#.to_vec(),
        b"\xff{\"message\":\"TOPIC_NOT_FOUND\"}".to_vec(),
    ]
}
