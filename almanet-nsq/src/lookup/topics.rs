//! Which topics there are.

use std::{collections::BTreeSet, sync::Arc};

use almanet_nsq_proto::TopicName;
use futures_util::future::join_all;
use hyper::StatusCode;
use serde::Deserialize;

use super::{
    config::LookupConfig,
    error::LookupError,
    http::{Limits, ask},
    lookupd::parse_address,
};

/// An answer with more topics than this is not believed.
const MAX_TOPICS: usize = 65_536;

/// What nsqd is asked: its topics, and of their channels and clients nothing.
const STATS: &str = "/stats?format=json&include_clients=false&include_mem=false";

/// Those who know which topics there are: nsqlookupds ([`Lookup::topics`](super::Lookup::topics)), or the nodes
/// themselves.
#[derive(Clone, Debug)]
pub struct TopicList {
    pub(super) addresses: Arc<[Arc<str>]>,
    pub(super) who: Who,
    pub(super) limits: Limits,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Lookupds,
    Nodes,
}

/// nsqlookupd lists names, nsqd objects that have one.
#[derive(Deserialize)]
struct Answer {
    topics: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Name(String),
    Topic { topic_name: String },
}

impl TopicList {
    pub(super) fn new(addresses: Arc<[Arc<str>]>, who: Who, config: &LookupConfig) -> Self {
        Self {
            addresses,
            who,
            limits: Limits {
                time: config.request_timeout,
                bytes: config.max_answer_size,
            },
        }
    }

    /// The topics of the nodes with these HTTP addresses (each `host:port`, port 4151 by default; their `/stats`).
    /// Nothing is asked yet.
    ///
    /// ```no_run
    /// use almanet_nsq::{LookupConfig, TopicList};
    ///
    /// # async fn example() -> Result<(), almanet_nsq::LookupError> {
    /// for topic in TopicList::of_nodes(["10.0.0.1:4151"], LookupConfig::default())?.ask().await? {
    ///     println!("{topic}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError::NoAddress`] and [`LookupError::InvalidAddress`].
    pub fn of_nodes(
        addresses: impl IntoIterator<Item = impl Into<String>>,
        config: LookupConfig,
    ) -> Result<Self, LookupError> {
        let addresses = addresses
            .into_iter()
            .map(|address| parse_address(&address.into()));
        let addresses: Arc<[Arc<str>]> = addresses.collect::<Result<_, _>>()?;
        match addresses.is_empty() {
            true => Err(LookupError::NoAddress),
            false => Ok(Self::new(addresses, Who::Nodes, &config)),
        }
    }

    /// Asks everybody at once, and puts together what they say. Those that do not answer are passed over while another
    /// does.
    ///
    /// # Errors
    ///
    /// [`LookupError::NoneAnswered`] when nobody gave a usable answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the asking.
    pub async fn ask(&self) -> Result<BTreeSet<TopicName>, LookupError> {
        let mut topics = BTreeSet::new();
        let mut errors = Vec::new();
        let asking = self.addresses.iter().map(|address| self.ask_one(address));
        for answer in join_all(asking).await {
            match answer {
                Ok(more) => topics.extend(more),
                Err(error) => errors.push(error),
            }
        }
        match errors.len() < self.addresses.len() {
            true => Ok(topics),
            false => Err(LookupError::NoneAnswered(errors)),
        }
    }

    async fn ask_one(&self, address: &str) -> Result<BTreeSet<TopicName>, LookupError> {
        let not_usable = |cause| LookupError::NotLookupd {
            address: address.to_owned(),
            cause,
        };
        let path = match self.who {
            Who::Lookupds => "/topics",
            Who::Nodes => STATS,
        };
        let (status, body) = ask(address, path, self.limits).await?;
        match status {
            StatusCode::OK => listed(&body).map_err(not_usable),
            status => Err(not_usable(format!("it answers with the status {status}"))),
        }
    }
}

/// Reads the body of a good answer. Names that are none are left out.
fn listed(body: &[u8]) -> Result<BTreeSet<TopicName>, String> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| format!("its answer cannot be read: {error}"))?;
    let count = answer.topics.len();
    if count > MAX_TOPICS {
        return Err(format!(
            "it lists {count} topics, and more than {MAX_TOPICS} are not believed"
        ));
    }
    let names = answer.topics.into_iter().map(|entry| match entry {
        Entry::Name(name) | Entry::Topic { topic_name: name } => name,
    });
    Ok(names.filter_map(|name| TopicName::new(name).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nsqlookupd_and_nsqd_are_both_understood() {
        for body in [
            r#"{"topics":["orders","bad name","mails"]}"#,
            r#"{"version":"1.3.0","topics":[{"topic_name":"mails","channels":[],"depth":1},{"topic_name":"orders"}]}"#,
        ] {
            let topics = listed(body.as_bytes()).unwrap();
            let names: Vec<_> = topics.iter().map(TopicName::as_str).collect();
            assert_eq!(names, ["mails", "orders"]);
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for body in ["", "{}", r#"{"topics":7}"#, r#"{"topics":[{"name":"a"}]}"#] {
            assert!(listed(body.as_bytes()).is_err(), "{body:?} was understood");
        }
        let body = format!(r#"{{"topics":[{}]}}"#, vec!["\"a\""; MAX_TOPICS + 1].join(","));
        assert!(listed(body.as_bytes()).is_err());
    }
}
