//! The question to nsqlookupd which channels a topic has elsewhere.

use almanet_nsq_proto::{ChannelName, TopicName};
use serde::Deserialize;

use crate::http_client::{Address, HttpClient};

/// The path of the question.
const PATH: &str = "/channels";

/// The answer.
#[derive(Debug, Deserialize)]
struct Answer {
    channels: Vec<String>,
}

/// The channels that other nodes have of a topic, as the nsqlookupd at `address` (`host:port`) knows them; or why it does not say.
pub(super) async fn channels(
    client: &HttpClient,
    address: &str,
    topic: &TopicName,
) -> Result<Vec<ChannelName>, String> {
    let server =
        Address::parse(address, PATH).map_err(|_| "it names no address that can be asked".to_owned())?;
    let asked = client.get(&server, format!("{PATH}?topic={topic}"));
    let answer: Answer = asked.await.map_err(|error| error.to_string())?;
    // A name that is none is another node's mistake.
    let names = answer.channels.iter();
    Ok(names.filter_map(|name| ChannelName::new(name).ok()).collect())
}
