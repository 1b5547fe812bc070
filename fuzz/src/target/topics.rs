//! What nsqlookupd and nsqd answer about topics.

use std::collections::BTreeSet;

use almanet_nsq::{Lookup, LookupConfig, TopicList, TopicName};
use serde_json::Value;

use super::{
    answering::{answer, listener, status_and_body},
    runtime::run,
};

/// The topic that is asked for.
const TOPIC: &str = "mails";

/// The body of an answer, good or bad by its first byte, to `/topics` of nsqlookupd and to `/stats` of nsqd: the topics that it
/// names and a subscriber that it counts, or an error.
pub fn topics(data: &[u8]) {
    let Some((status, body)) = status_and_body(data) else {
        return;
    };
    let is_good = status.starts_with("200");
    let expected = Expected::of(body);
    run(async {
        let (listener, address) = listener().await;
        let config = LookupConfig::default;
        let lookupd = Lookup::new([address.clone()], config())
            .expect("a lookup")
            .topics();
        let node = TopicList::of_nodes([address], config()).expect("a list");
        for list in [lookupd, node.clone()] {
            let (found, ()) = tokio::join!(list.ask(), answer(&listener, status, body));
            if let Ok(found) = found {
                assert!(is_good, "a refusal was believed");
                assert!(
                    expected.as_ref().is_none_or(|expected| expected.named == found),
                    "{found:?}"
                );
            }
        }
        let topic = TopicName::new(TOPIC).expect("a name");
        let nobody = BTreeSet::new();
        let asking = node.has_subscribers(&topic, &nobody);
        let (is_read, ()) = tokio::join!(asking, answer(&listener, status, body));
        if let Ok(is_read) = is_read {
            assert!(is_good, "a refusal was believed");
            assert!(
                expected.is_none_or(|expected| expected.is_read == is_read),
                "{is_read}"
            );
        }
    });
}

/// What the body says to another reader of JSON.
struct Expected {
    /// The valid names of topics.
    named: BTreeSet<TopicName>,
    /// Whether a client of [`TOPIC`] is counted.
    is_read: bool,
}

impl Expected {
    /// `None` where that reader does not understand what it need not: numbers out of range, and what is nested too deeply.
    fn of(body: &[u8]) -> Option<Self> {
        let answer: Value = serde_json::from_str(&String::from_utf8_lossy(body)).ok()?;
        let topics = field(&answer, "topics", 0).and_then(Value::as_array);
        let topics = topics.into_iter().flatten();
        let named = topics.clone().filter_map(|topic| {
            let name = field(topic, "topic_name", 0).unwrap_or(topic);
            TopicName::new(name.as_str()?).ok()
        });
        let of_topic = |topic: &&Value| field(topic, "topic_name", 0).is_some_and(|name| name == TOPIC);
        let channels = topics.clone().filter(of_topic);
        let mut channels = channels
            .filter_map(|topic| field(topic, "channels", 1)?.as_array())
            .flatten();
        let clients = |channel: &Value| field(channel, "client_count", 0)?.as_u64();
        Some(Self {
            named: named.collect(),
            is_read: channels.any(|channel| clients(channel) > Some(0)),
        })
    }
}

/// A field of an object, or of a list in its place, which can be read as well.
fn field<'a>(entry: &'a Value, name: &str, place: usize) -> Option<&'a Value> {
    entry.get(name).or_else(|| entry.get(place))
}

pub(crate) fn topics_seeds() -> Vec<Vec<u8>> {
    vec![
        br#" {"topics":["mails","a#ephemeral","no name"]}"#.to_vec(),
        br#" {"topics":[{"topic_name":"mails","channels":[{"channel_name":"c","client_count":2}],"depth":7}]}"#
            .to_vec(),
        br#" {"version":"1.3.0","topics":[{"topic_name":"orders","channels":[{"client_count":1}]},
            {"topic_name":"mails","channels":[{"client_count":0}]}],"producers":null}"#
            .to_vec(),
        br#" {"topics":null,"producers":null}"#.to_vec(),
        b"\xff{\"message\":\"NOT_FOUND\"}".to_vec(),
    ]
}
