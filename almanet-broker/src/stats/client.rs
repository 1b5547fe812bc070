//! A client in nsqd's statistics.

use serde::Serialize;

use crate::{
    channel::SubscriberReport,
    connections::{Compression, Connection},
};

/// The states of a connection, by nsqd's numbers.
const CONNECTED: i32 = 0;
const SUBSCRIBED: i32 = 3;
const CLOSING: i32 = 4;

/// One client, with nsqd's field names.
#[derive(Debug, Serialize)]
pub(crate) struct ClientStats {
    pub(super) client_id: String,
    pub(super) hostname: String,
    pub(super) version: &'static str,
    pub(super) remote_address: String,
    pub(super) state: i32,
    pub(super) ready_count: u64,
    pub(super) in_flight_count: u64,
    pub(super) message_count: u64,
    pub(super) finish_count: u64,
    pub(super) requeue_count: u64,
    /// Seconds since 1970.
    pub(super) connect_ts: i64,
    pub(super) sample_rate: u8,
    pub(super) deflate: bool,
    pub(super) snappy: bool,
    pub(super) user_agent: String,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) authed: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) auth_identity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) auth_identity_url: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) pub_counts: Vec<PublishCount>,
    pub(super) tls: bool,
    pub(super) tls_cipher_suite: &'static str,
    pub(super) tls_version: &'static str,
    pub(super) tls_negotiated_protocol: &'static str,
    pub(super) tls_negotiated_protocol_is_mutual: bool,
}

/// How much a client has published to one topic.
#[derive(Debug, Serialize)]
pub(crate) struct PublishCount {
    pub(super) topic: String,
    pub(super) count: u64,
}

impl ClientStats {
    /// A client, its subscription if it has one, and what it published: to `topic` only, if one is asked for.
    pub(super) fn new(
        connection: &Connection,
        subscriber: Option<&SubscriberReport>,
        topic: Option<&str>,
    ) -> Self {
        let description = connection.description();
        let tls = description.tls;
        let is_authed = description.identity.is_some();
        let (auth_identity, auth_identity_url) = description
            .identity
            .map_or_else(Default::default, |identity| (identity.name, identity.url));
        let pub_counts = connection.published().unwrap_or_default().into_iter();
        let pub_counts = pub_counts
            .filter(|(name, _)| topic.is_none_or(|topic| name.as_str() == topic))
            .map(|(name, count)| PublishCount {
                topic: name.as_str().to_owned(),
                count,
            });
        Self {
            client_id: description.client_id,
            hostname: description.hostname,
            version: "V2",
            remote_address: connection.peer().to_string(),
            state: match subscriber {
                None => CONNECTED,
                Some(subscriber) if subscriber.is_closing => CLOSING,
                Some(_) => SUBSCRIBED,
            },
            ready_count: subscriber.map_or(0, |subscriber| subscriber.ready),
            in_flight_count: subscriber.map_or(0, |subscriber| subscriber.in_flight),
            message_count: subscriber.map_or(0, |subscriber| subscriber.delivered),
            finish_count: subscriber.map_or(0, |subscriber| subscriber.finished),
            requeue_count: subscriber.map_or(0, |subscriber| subscriber.requeued),
            connect_ts: connection.since(),
            sample_rate: description.sample_rate,
            deflate: matches!(description.compression, Some(Compression::Deflate(_))),
            snappy: description.compression == Some(Compression::Snappy),
            user_agent: description.user_agent,
            authed: is_authed,
            auth_identity,
            auth_identity_url,
            pub_counts: pub_counts.collect(),
            tls: tls.is_some(),
            tls_cipher_suite: tls.map_or("", |tls| tls.cipher_suite),
            tls_version: tls.map_or("", |tls| tls.version),
            tls_negotiated_protocol: "",
            // As Go has it for every connection with TLS.
            tls_negotiated_protocol_is_mutual: tls.is_some(),
        }
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}
