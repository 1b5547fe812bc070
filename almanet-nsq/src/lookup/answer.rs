//! What nsqlookupd says about its nodes.

use std::{collections::BTreeSet, sync::Arc};

use serde::Deserialize;

/// An answer with more nodes than this is not believed. Large clusters have some hundreds.
const MAX_NODES: usize = 4096;
/// No host name is longer.
const MAX_HOST_LENGTH: usize = 253;

/// The nodes of an answer, each `host:port`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) nodes: BTreeSet<Arc<str>>,
    /// How many entries were left out because they name no usable address.
    pub(super) unusable: usize,
}

/// Both `/lookup` and `/nodes` list their nodes as `producers`.
#[derive(Deserialize)]
struct Answer {
    producers: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    broadcast_address: String,
    #[serde(default)]
    tcp_port: i64,
    #[serde(default)]
    http_port: i64,
}

/// What the body of an error says.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// Reads the body of a good answer; the error says what is wrong with it.
pub(super) fn listed(body: &[u8]) -> Result<Listed, String> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| format!("its answer cannot be read: {error}"))?;
    let count = answer.producers.len();
    if count > MAX_NODES {
        return Err(format!(
            "it lists {count} nodes, and more than {MAX_NODES} are not believed"
        ));
    }
    let mut listed = Listed::default();
    for entry in answer.producers {
        match entry.address(entry.tcp_port) {
            Some(address) => _ = listed.nodes.insert(address),
            None => listed.unusable += 1,
        }
    }
    Ok(listed)
}

/// The HTTP addresses of the nodes of a good answer; an error when one of them has none.
pub(super) fn http_addresses(body: &[u8]) -> Result<BTreeSet<Arc<str>>, String> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| format!("its answer cannot be read: {error}"))?;
    let addresses = answer.producers.iter().take(MAX_NODES);
    addresses
        .map(|entry| {
            entry
                .address(entry.http_port)
                .ok_or_else(|| "it lists a node without an HTTP address".to_owned())
        })
        .collect()
}

/// Whether the body of an answer with status 404 says that nobody has the topic yet.
pub(super) fn is_unknown_topic(body: &[u8]) -> bool {
    serde_json::from_slice(body).is_ok_and(|refusal: Refusal| refusal.message == "TOPIC_NOT_FOUND")
}

impl Entry {
    /// The node's address with this port of it.
    fn address(&self, port: i64) -> Option<Arc<str>> {
        let host = self.broadcast_address.as_str();
        let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
        let is_host = !host.is_empty()
            && host.len() <= MAX_HOST_LENGTH
            && host.chars().all(|c| c.is_alphanumeric() || "-._:[]%".contains(c));
        let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
        match (is_host, is_bare_ipv6) {
            (true, false) => Some(format!("{host}:{port}").into()),
            (true, true) => Some(format!("[{host}]:{port}").into()),
            (false, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(body: &str) -> Vec<String> {
        let listed = listed(body.as_bytes()).unwrap();
        listed.nodes.iter().map(|node| node.to_string()).collect()
    }

    #[test]
    fn the_answers_of_nsqlookupd_are_understood() {
        let lookup = r#"{"channels":["c"],"producers":[{"remote_address":"10.1.1.1:5","hostname":"h",
            "broadcast_address":"node-1.example","tcp_port":4150,"http_port":4151,"version":"1.3.0"}]}"#;
        assert_eq!(nodes(lookup), ["node-1.example:4150"]);
        let all = r#"{"producers":[{"broadcast_address":"10.0.0.2","tcp_port":4150,"tombstones":[false],"topics":["t"]},
            {"broadcast_address":"::1","tcp_port":4150,"tombstones":[],"topics":[]}]}"#;
        assert_eq!(nodes(all), ["10.0.0.2:4150", "[::1]:4150"]);
        assert!(nodes(r#"{"producers":[]}"#).is_empty());
    }

    #[test]
    fn an_entry_without_a_usable_address_is_left_out_alone() {
        let body = r#"{"producers":[{"broadcast_address":"","tcp_port":4150},{"broadcast_address":"a","tcp_port":0},
            {"broadcast_address":"a","tcp_port":65536},{"broadcast_address":"a b\n","tcp_port":1},{"tcp_port":1},
            {"broadcast_address":"good","tcp_port":1}]}"#;
        let listed = listed(body.as_bytes()).unwrap();
        assert_eq!(listed.nodes, BTreeSet::from(["good:1".into()]));
        assert_eq!(listed.unusable, 5);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for body in [
            "",
            "{}",
            "null",
            "<html>",
            r#"{"producers":7}"#,
            r#"{"producers":[7]}"#,
        ] {
            assert!(listed(body.as_bytes()).is_err(), "{body:?} was understood");
        }
        let entry = r#"{"broadcast_address":"a","tcp_port":1}"#;
        let body = format!(r#"{{"producers":[{}]}}"#, vec![entry; MAX_NODES + 1].join(","));
        assert!(listed(body.as_bytes()).is_err());
    }

    #[test]
    fn only_the_right_404_says_that_nobody_has_the_topic() {
        assert!(is_unknown_topic(br#"{"message":"TOPIC_NOT_FOUND"}"#));
        assert!(!is_unknown_topic(br#"{"message":"NOT_FOUND"}"#));
        assert!(!is_unknown_topic(b"404 page not found"));
    }
}
