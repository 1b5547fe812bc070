//! Whether anybody is subscribed to a topic.

use std::{collections::BTreeSet, sync::Arc};

use almanet_nsq_proto::TopicName;
use futures_util::future::join_all;
use hyper::StatusCode;
use serde::Deserialize;

use super::{
    answer::{self, Listed},
    error::LookupError,
    http::ask,
    topics::{TopicList, Who},
};

/// What nsqd says of one topic.
#[derive(Deserialize)]
struct Stats {
    /// nsqd says `null` of a topic that it does not have.
    topics: Option<Vec<Topic>>,
}

#[derive(Deserialize)]
struct Topic {
    topic_name: String,
    #[serde(default)]
    channels: Option<Vec<Channel>>,
}

#[derive(Deserialize)]
struct Channel {
    #[serde(default)]
    client_count: u64,
}

impl TopicList {
    /// Whether a consumer is connected, on any node, to any channel of `topic`. The nodes are asked (nsqd's `/stats`), all at
    /// once; which nodes there are and where their HTTP is, nsqlookupds are asked (`/nodes`) if they are who is known. Then
    /// `known`, the addresses of nodes (`host:port`), have to be among them: an nsqlookupd that has just started knows few.
    ///
    /// # Errors
    ///
    /// [`LookupError::NoneAnswered`] when nobody is found, and not all nodes could be asked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the asking.
    pub async fn has_subscribers(
        &self,
        topic: &TopicName,
        known: &BTreeSet<Arc<str>>,
    ) -> Result<bool, LookupError> {
        let mut errors = Vec::new();
        let nodes = match self.who {
            Who::Nodes => self.addresses.iter().cloned().collect(),
            Who::Lookupds => {
                let (mut nodes, mut listed) = (BTreeSet::new(), BTreeSet::new());
                let asking = self.addresses.iter().map(|lookupd| self.nodes_of(lookupd));
                for (tcp, http) in join_all(asking).await.into_iter().flatten() {
                    listed.extend(tcp.nodes);
                    nodes.extend(http);
                }
                errors.extend(known.difference(&listed).map(|node| LookupError::NotLookupd {
                    address: node.to_string(),
                    cause: "no nsqlookupd that answers lists it".to_owned(),
                }));
                nodes
            }
        };
        for answer in join_all(nodes.iter().map(|node| self.is_read_on(node, topic))).await {
            match answer {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => errors.push(error),
            }
        }
        match errors.is_empty() && !nodes.is_empty() {
            true => Ok(false),
            false => Err(LookupError::NoneAnswered(errors)),
        }
    }

    async fn nodes_of(&self, lookupd: &str) -> Result<(Listed, BTreeSet<Arc<str>>), LookupError> {
        let (status, body) = ask(lookupd, "/nodes", self.limits).await?;
        let both = answer::listed(&body)
            .and_then(|listed| answer::http_addresses(&body).map(|addresses| (listed, addresses)));
        usable(lookupd, status, both)
    }

    async fn is_read_on(&self, node: &str, topic: &TopicName) -> Result<bool, LookupError> {
        // Of the characters that a name can have, only the one of `#ephemeral` means something else in a path.
        let name = topic.as_str().replace('#', "%23");
        let path = format!("/stats?format=json&include_clients=false&include_mem=false&topic={name}");
        let (status, body) = ask(node, &path, self.limits).await?;
        usable(node, status, is_read(&body, topic))
    }
}

fn usable<T>(address: &str, status: StatusCode, read: Result<T, String>) -> Result<T, LookupError> {
    let read = match status {
        StatusCode::OK => read,
        status => Err(format!("it answers with the status {status}")),
    };
    read.map_err(|cause| LookupError::NotLookupd {
        address: address.to_owned(),
        cause,
    })
}

/// Whether the body of a good answer counts a client of the topic.
fn is_read(body: &[u8], topic: &TopicName) -> Result<bool, String> {
    let stats: Stats =
        serde_json::from_slice(body).map_err(|error| format!("its answer cannot be read: {error}"))?;
    let mut channels = stats
        .topics
        .iter()
        .flatten()
        .filter(|stats| stats.topic_name == topic.as_str())
        .flat_map(|stats| stats.channels.iter().flatten());
    Ok(channels.any(|channel| channel.client_count > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_read_where_one_of_its_channels_has_a_client() {
        let topic = TopicName::new("mails").unwrap();
        for (body, expected) in [
            (r#"{"topics":[]}"#, false),
            (r#"{"topics":null,"producers":null}"#, false),
            (r#"{"topics":[{"topic_name":"mails"}]}"#, false),
            (
                r#"{"topics":[{"topic_name":"mails","channels":[{"channel_name":"a","client_count":0}]}]}"#,
                false,
            ),
            (
                r#"{"topics":[{"topic_name":"orders","channels":[{"client_count":1}]}]}"#,
                false,
            ),
            (
                r#"{"topics":[{"topic_name":"mails","channels":[{"client_count":0},{"client_count":2,"clients":[]}]}]}"#,
                true,
            ),
        ] {
            assert_eq!(is_read(body.as_bytes(), &topic), Ok(expected), "{body}");
        }
        for body in ["", "7", r#"{"topics":7}"#] {
            assert!(
                is_read(body.as_bytes(), &topic).is_err(),
                "{body:?} was understood"
            );
        }
    }
}
