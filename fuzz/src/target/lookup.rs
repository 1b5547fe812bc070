//! What nsqlookupd answers.

use almanet_nsq::{Lookup, LookupConfig, TopicName};

use super::{
    answering::{answer, listener, status_and_body},
    runtime::run,
};

/// The body of an answer, good or bad by its first byte: nodes that can be connected to, or an error.
pub fn lookup(data: &[u8]) {
    let Some((status, body)) = status_and_body(data) else {
        return;
    };
    run(async {
        let (listener, address) = listener().await;
        let lookup = Lookup::new([address], LookupConfig::default()).expect("a lookup");
        let topic = TopicName::new("topic").expect("a name");
        let (nodes, ()) = tokio::join!(lookup.nodes_with(&topic), answer(&listener, status, body));
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
