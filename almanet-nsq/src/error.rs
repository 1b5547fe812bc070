//! What can go wrong: while connecting, while publishing, while answering a message.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use almanet_nsq_proto::{ErrorCode, MessageId, ProtocolError, TopicName};

/// Why no connection to a broker could be made.
///
/// The text of each variant holds its cause, so that the text of [`AllFailed`](Self::AllFailed) tells the whole
/// story; there is no `source()` that would repeat it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address does not resolve, or nothing takes connections there.
    #[error("cannot connect to {address}: {}; {}", reason(cause), advice(cause))]
    Unreachable {
        /// The address as it was given.
        address: String,
        /// What the operating system said.
        cause: io::Error,
    },
    /// The peer did not get through with connecting and greeting in time.
    #[error(
        "cannot connect to {address}: no answer within {after:?}; is that nsqd's TCP address, and does a firewall let it through?"
    )]
    TimedOut {
        /// The address as it was given.
        address: String,
        /// The time that was allowed.
        after: Duration,
    },
    /// Something answers, but not in NSQ's protocol.
    #[error(
        "{address} does not speak NSQ: {cause}; is that nsqd's TCP port (4150) and not its HTTP port (4151)?"
    )]
    NotNsq {
        /// The address as it was given.
        address: String,
        /// What was wrong with the answer.
        cause: String,
    },
    /// The broker answered with a refusal.
    #[error("{address} refuses the connection: {cause}")]
    Refused {
        /// The address as it was given.
        address: String,
        /// The broker's words.
        cause: ProtocolError,
    },
    /// The connection broke before the broker had answered.
    #[error("{address} broke the connection off before it had answered: {cause}")]
    Lost {
        /// The address as it was given.
        address: String,
        /// How it broke.
        cause: String,
    },
    /// The connection could not be secured.
    #[error("cannot secure the connection to {address}: {cause}")]
    Tls {
        /// The address as it was given.
        address: String,
        /// Which side did not accept the other, and why.
        cause: String,
    },
    /// The broker does not have what the connection is configured to have.
    #[error("{address} does not grant {feature}, which is configured: {}", enabling(*feature))]
    NotGranted {
        /// The address as it was given.
        address: String,
        /// What was asked for.
        feature: Feature,
    },
    /// The broker wants a secret, and none is configured.
    #[error("{address} requires authentication: set the secret with `ConnectionConfig::auth_secret`")]
    AuthRequired {
        /// The address as it was given.
        address: String,
    },
    /// The broker does not accept the secret, or could not check it.
    #[error(
        "{address} refuses the authentication secret: {cause}; {}",
        auth_advice(cause)
    )]
    AuthRefused {
        /// The address as it was given.
        address: String,
        /// The broker's words.
        cause: ProtocolError,
    },
    /// None of several addresses could be connected to.
    #[error("none of {} addresses can be used: {}", .0.len(), list(.0))]
    AllFailed(Vec<ConnectError>),
    /// There was no address to connect to.
    #[error("no address was given: name at least one broker as host:port")]
    NoAddress,
}

impl ConnectError {
    /// One error for all addresses: the only one there is, or the list of them.
    pub(crate) fn of_all(mut errors: Vec<Self>) -> Self {
        match errors.len() {
            0 => Self::NoAddress,
            1 => errors.remove(0),
            _ => Self::AllFailed(errors),
        }
    }
}

/// Something that a connection can have or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// Encryption.
    Tls,
    /// Compression with snappy.
    Snappy,
    /// Compression with deflate.
    Deflate,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Snappy => "snappy compression",
            Self::Deflate => "deflate compression",
        })
    }
}

fn enabling(feature: Feature) -> &'static str {
    match feature {
        Feature::Tls => "nsqd has it with --tls-cert and --tls-key",
        Feature::Snappy => "nsqd has it unless started with --snappy=false",
        Feature::Deflate => "nsqd has it unless started with --deflate=false",
    }
}

fn auth_advice(cause: &ProtocolError) -> &'static str {
    match cause.code {
        ErrorCode::Unauthorized => "it allows nothing",
        _ => "is it the right one, and does the broker reach its authorization server?",
    }
}

/// The operating system's reason in plain words, without its number where the kind says it all.
pub(crate) fn reason(cause: &io::Error) -> String {
    match cause.kind() {
        kind @ (io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable) => kind.to_string(),
        _ => cause.to_string(),
    }
}

fn advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => "is nsqd or almanet-broker running there?",
        io::ErrorKind::InvalidInput => "write it as host:port",
        _ => "check the host name and the network",
    }
}

/// Each error with its cause.
fn list(errors: &[impl Error]) -> String {
    let texts = errors.iter().map(|error| match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    });
    texts.collect::<Vec<_>>().join(" | ")
}

/// Why a publish was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A message, or several together, are larger than the configured limit. Nothing was sent.
    #[error(
        "{size} bytes for topic {topic} are more than the limit of {limit}: send less, or raise the limit here and in the broker"
    )]
    TooLarge {
        /// Where it was to go.
        topic: TopicName,
        /// How many bytes it has.
        size: usize,
        /// How many bytes it may have.
        limit: usize,
    },
    /// A message without a byte, or no message at all; NSQ takes neither. Nothing was sent.
    #[error("nothing to publish to topic {topic}: a message needs at least one byte")]
    Empty {
        /// Where it was to go.
        topic: TopicName,
    },
    /// The broker did not take it in.
    #[error("{address} refused a publish to topic {topic}")]
    Refused {
        /// The broker.
        address: Arc<str>,
        /// Where it was to go.
        topic: TopicName,
        /// The broker's words.
        #[source]
        cause: ProtocolError,
    },
    /// It was sent, and no answer came: it may have been published or not.
    #[error("{address} did not confirm a publish to topic {topic}, which may have happened or not: {reason}")]
    Unconfirmed {
        /// The broker.
        address: Arc<str>,
        /// Where it was to go.
        topic: TopicName,
        /// Why no answer will come.
        reason: Arc<str>,
    },
    /// It never left this process, and never will: it can safely be sent elsewhere.
    #[error("a publish to topic {topic} could not be sent to {address} within {waited:?}")]
    NotSent {
        /// The broker.
        address: Arc<str>,
        /// Where it was to go.
        topic: TopicName,
        /// How long it waited.
        waited: Duration,
    },
    /// The producer was closed before it was sent.
    #[error("the producer is closed")]
    Closed,
    /// There is no node that it could be sent to. Nothing was sent.
    #[error(
        "no node is known that a publish to topic {topic} could be sent to, after {waited:?}: does nsqlookupd list any?"
    )]
    NoNode {
        /// Where it was to go.
        topic: TopicName,
        /// How long it waited.
        waited: Duration,
    },
    /// Several nodes were tried, and none confirmed it: each with what happened there last.
    #[error("no node took the publish in: {}", list(.0))]
    AllFailed(Vec<PublishError>),
}

impl PublishError {
    /// Whether messages may have been published all the same, so that publishing them again can make duplicates.
    ///
    /// Besides [`Unconfirmed`](Self::Unconfirmed) that is so when the broker failed while it took several messages
    /// in (`E_MPUB_FAILED`): nsqd keeps those that came before the failure.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Unconfirmed { .. } => true,
            Self::Refused { cause, .. } => cause.code == ErrorCode::MpubFailed,
            Self::AllFailed(errors) => errors.iter().any(Self::may_have_happened),
            Self::TooLarge { .. }
            | Self::Empty { .. }
            | Self::NotSent { .. }
            | Self::Closed
            | Self::NoNode { .. } => false,
        }
    }

    /// Whether it ended because brokers refused it, every one that was asked.
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::AllFailed(errors) => errors.iter().all(Self::is_refused),
            _ => false,
        }
    }
}

/// Why the answer to a message was not queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The connection that the message came on is gone, so its broker will deliver the message again.
    #[error(
        "message {id} cannot be answered: the connection to {node} that it came on is gone, so it will be delivered again"
    )]
    ConnectionLost {
        /// The broker's address.
        node: Arc<str>,
        /// The message.
        id: MessageId,
    },
    /// What was to be published with the answer is no message, so the answer was not given either.
    #[error(
        "{size} bytes cannot be published to topic {topic}: a message has 1 to {limit} (`max_message_size`)"
    )]
    Unpublishable {
        /// Where it was to go.
        topic: TopicName,
        /// How many bytes it has.
        size: usize,
        /// How many it may have.
        limit: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_address_is_named_with_the_cause_and_what_to_do() {
        let refused = |address: &str| ConnectError::Unreachable {
            address: address.to_owned(),
            cause: io::Error::from_raw_os_error(111),
        };
        assert_eq!(
            refused("127.0.0.1:4150").to_string(),
            "cannot connect to 127.0.0.1:4150: connection refused; is nsqd or almanet-broker running there?"
        );
        let text = ConnectError::AllFailed(vec![refused("a:1"), refused("b:2")]).to_string();
        assert!(
            text.starts_with("none of 2 addresses can be used: cannot connect to a:1"),
            "{text}"
        );
        assert!(text.contains("cannot connect to b:2"), "{text}");
    }
}
