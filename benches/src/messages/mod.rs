//! Messages from a producer to a consumer, each by the bare client or through the framework: what a message holds
//! ([`body`]), who publishes it ([`publish`]) and who reads it ([`read`]).

pub mod body;
pub mod publish;
pub mod read;

use almanet_nsq::TopicName;

use crate::Failure;

/// A topic that nobody else has, gone with its last consumer.
pub fn topic(of: &str) -> Result<TopicName, Failure> {
    let unique = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
    Ok(TopicName::new(format!("bench.{of}_{unique}#ephemeral"))?)
}
