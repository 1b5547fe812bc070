//! The settings of a broker.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use almanet_nsq_proto::Limits;

#[cfg(feature = "http")]
use super::LatencyConfig;
use super::OutputBuffer;
use crate::auth::Auth;
use crate::http_client::HttpClient;
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// The settings of a [`Broker`](crate::Broker).
///
/// The defaults are nsqd's wherever nsqd has the setting.
///
/// ```
/// use std::time::Duration;
///
/// use almanet_broker::BrokerConfig;
///
/// let config = BrokerConfig::default()
///     .tcp_address(([127, 0, 0, 1], 4150).into())
///     .message_timeout(Duration::from_secs(10))
///     .max_channel_depth(10_000);
/// # let _ = config;
/// ```
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    pub(crate) tcp_address: SocketAddr,
    #[cfg(feature = "http")]
    pub(crate) http_address: Option<SocketAddr>,
    #[cfg(all(feature = "http", feature = "tls"))]
    pub(crate) https_address: Option<SocketAddr>,
    #[cfg(feature = "http")]
    pub(crate) max_http_connections: usize,
    #[cfg(any(feature = "http", feature = "lookupd"))]
    pub(crate) broadcast_address: Option<String>,
    pub(crate) max_message_size: usize,
    pub(crate) max_body_size: usize,
    pub(crate) max_ready_count: u64,
    pub(crate) message_timeout: Duration,
    pub(crate) max_message_timeout: Duration,
    pub(crate) max_requeue_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) max_heartbeat_interval: Duration,
    pub(crate) max_channel_depth: usize,
    pub(crate) max_memory: usize,
    pub(crate) max_connections: usize,
    pub(crate) max_channel_consumers: usize,
    pub(crate) output_buffer: OutputBuffer,
    #[cfg(feature = "http")]
    pub(crate) latency: LatencyConfig,
    pub(crate) data_path: Option<PathBuf>,
    #[cfg(feature = "lookupd")]
    pub(crate) lookupd: LookupdConfig,
    pub(crate) snappy: bool,
    pub(crate) deflate: bool,
    pub(crate) max_deflate_level: u8,
    pub(crate) auth: Option<Auth>,
    pub(crate) http_client: HttpClient,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
}

/// How the broker is registered at nsqlookupd.
#[cfg(feature = "lookupd")]
#[derive(Debug, Clone, Default)]
pub(crate) struct LookupdConfig {
    pub(crate) tcp_addresses: Vec<String>,
    pub(crate) broadcast_tcp_port: Option<u16>,
    pub(crate) broadcast_http_port: Option<u16>,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            tcp_address: (Ipv4Addr::LOCALHOST, 0).into(),
            #[cfg(feature = "http")]
            http_address: None,
            #[cfg(all(feature = "http", feature = "tls"))]
            https_address: None,
            #[cfg(feature = "http")]
            max_http_connections: 256,
            #[cfg(any(feature = "http", feature = "lookupd"))]
            broadcast_address: None,
            max_message_size: limits.max_message_size,
            max_body_size: limits.max_body_size,
            max_ready_count: 2500,
            message_timeout: Duration::from_secs(60),
            max_message_timeout: Duration::from_secs(15 * 60),
            max_requeue_timeout: Duration::from_secs(60 * 60),
            heartbeat_interval: Duration::from_secs(30),
            max_heartbeat_interval: Duration::from_secs(60),
            max_channel_depth: 1 << 20,
            max_memory: 1 << 30,
            max_connections: 10_000,
            max_channel_consumers: 0,
            output_buffer: OutputBuffer::default(),
            #[cfg(feature = "http")]
            latency: LatencyConfig::default(),
            data_path: None,
            #[cfg(feature = "lookupd")]
            lookupd: LookupdConfig::default(),
            snappy: true,
            deflate: true,
            max_deflate_level: 6,
            auth: None,
            http_client: HttpClient::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl BrokerConfig {
    /// Where to listen for NSQ clients.
    ///
    /// The default is `127.0.0.1:0`: a free port, so that brokers in tests and beside an nsqd do not collide,
    /// and loopback only, since the broker does not ask who connects.
    #[must_use]
    pub fn tcp_address(mut self, address: SocketAddr) -> Self {
        self.tcp_address = address;
        self
    }

    /// Where to listen for HTTP: nsqd's interface for its tools, and `/metrics`.
    ///
    /// The default is nowhere: whoever embeds a broker has it at hand, and the interface lets anybody who reaches it
    /// delete topics. Port 0 gives a free port ([`Broker::http_addr`](crate::Broker::http_addr)).
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http_address(mut self, address: SocketAddr) -> Self {
        self.http_address = Some(address);
        self
    }

    /// Where to listen for HTTP over TLS, with what [`http_address`](Self::http_address) offers.
    ///
    /// The default is nowhere, and without [`tls`](Self::tls) nothing listens there. As nsqd's `--https-address`.
    #[cfg(all(feature = "http", feature = "tls"))]
    #[must_use]
    pub fn https_address(mut self, address: SocketAddr) -> Self {
        self.https_address = Some(address);
        self
    }

    /// How many HTTP clients may be connected at a time; further ones get status 503 and are closed.
    ///
    /// The bodies that they send count in [`max_memory`](Self::max_memory). The default is 256:
    /// tools and scrapes need a handful, and publishers over HTTP share connections.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn max_http_connections(mut self, connections: usize) -> Self {
        self.max_http_connections = connections;
        self
    }

    /// The host name or address under which others reach this machine, as `/info` and nsqlookupd say it. The default is
    /// the host's name, as for nsqd's `--broadcast-address`.
    #[cfg(any(feature = "http", feature = "lookupd"))]
    #[must_use]
    pub fn broadcast_address(mut self, address: impl Into<String>) -> Self {
        self.broadcast_address = Some(address.into());
        self
    }

    /// The largest message in bytes. The default is 1 MiB, as nsqd's `--max-msg-size`.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// The largest body of IDENTIFY, AUTH and MPUB in bytes. The default is 5 MiB, as nsqd's `--max-body-size`.
    #[must_use]
    pub fn max_body_size(mut self, bytes: usize) -> Self {
        self.max_body_size = bytes;
        self
    }

    /// The largest RDY count that a client may send. The default is 2500, as nsqd's `--max-rdy-count`.
    #[must_use]
    pub fn max_ready_count(mut self, count: u64) -> Self {
        self.max_ready_count = count;
        self
    }

    /// How long a subscriber has to answer a message before it is delivered again, unless it asks otherwise.
    ///
    /// The default is 60 s, as nsqd's `--msg-timeout`.
    #[must_use]
    pub fn message_timeout(mut self, timeout: Duration) -> Self {
        self.message_timeout = timeout;
        self
    }

    /// The longest message timeout that a client may ask for, and the longest time that TOUCH can keep a message
    /// in flight. The default is 15 min, as nsqd's `--max-msg-timeout`.
    #[must_use]
    pub fn max_message_timeout(mut self, timeout: Duration) -> Self {
        self.max_message_timeout = timeout;
        self
    }

    /// The longest delay of REQ (longer ones are cut to it) and of DPUB (longer ones are refused).
    ///
    /// The default is 1 h, as nsqd's `--max-req-timeout`.
    #[must_use]
    pub fn max_requeue_timeout(mut self, timeout: Duration) -> Self {
        self.max_requeue_timeout = timeout;
        self
    }

    /// The time between heartbeats to a client that does not ask for another. The default is 30 s, as in nsqd.
    ///
    /// A client that sends no command for two intervals is closed.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval;
        self
    }

    /// The longest heartbeat interval that a client may ask for; the shortest is 1 s.
    ///
    /// The default is 60 s, as nsqd's `--max-heartbeat-interval`.
    #[must_use]
    pub fn max_heartbeat_interval(mut self, interval: Duration) -> Self {
        self.max_heartbeat_interval = interval;
        self
    }

    /// How many messages may wait in one channel (or in a topic that has no channel yet), deferred ones included.
    ///
    /// Beyond it, publishers are refused with `E_PUB_FAILED` (`E_MPUB_FAILED`, `E_DPUB_FAILED`), where nsqd would
    /// write to its disk. So an MPUB of more messages than this is always refused. The default is 1,048,576: room
    /// for an hour's outage of a consumer of 290 messages per second.
    ///
    /// An ephemeral channel keeps at most 10,000 of them (nsqd's default for its queue in memory) and drops what
    /// comes then, as nsqd does.
    #[must_use]
    pub fn max_channel_depth(mut self, messages: usize) -> Self {
        self.max_channel_depth = messages;
        self
    }

    /// How many bytes all waiting messages may take together.
    ///
    /// Each waiting message counts its body and 96 bytes of bookkeeping, in each channel that holds it; each topic
    /// and each channel count 1 KiB; and messages in flight count too. Beyond it, publishers of
    /// messages that would have to wait are refused as for [`max_channel_depth`](Self::max_channel_depth), and no topic
    /// is created; channels are up to a quarter beyond it, since their consumers are who makes room. A message for a subscriber that is ready is refused only when those in flight
    /// alone take as much, so a queue that nobody reads does not stop the others; all together may so take twice
    /// the limit at the most. The default is 1 GiB: a small part of a server's memory.
    ///
    /// Beside it, each connection has up to 1 MiB for frames that its client has not read yet, and up to 64 KiB of a
    /// command that is not complete. What has come of larger ones and of the bodies of HTTP requests takes, on all
    /// connections together, as much as this limit at the most; beyond it they are refused, and their connections end.
    #[must_use]
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.max_memory = bytes;
        self
    }

    /// How many clients may be connected at a time; further ones get an error frame and are closed.
    ///
    /// The default is 10,000: more than one machine's services need, and within what a process may commonly open.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// How many clients may be subscribed to one channel; further ones are refused with `E_SUB_FAILED`.
    ///
    /// The default is 0, for any number, as nsqd's `--max-channel-consumers`.
    #[must_use]
    pub fn max_channel_consumers(mut self, clients: usize) -> Self {
        self.max_channel_consumers = clients;
        self
    }

    /// The directory in which topics, channels and undelivered messages outlive the broker.
    ///
    /// At a clean stop ([`Broker::stop`](crate::Broker::stop), or a dropped handle while the runtime goes on) they
    /// are written into one file there, and the next broker with this data path begins with them. Ephemeral topics
    /// and channels are not kept. What a killed process had is not there: see `docs/broker-state.md`. The directory is
    /// made if need be, the one above it is not. One broker at a time can use it.
    ///
    /// The default is none: messages are kept in memory only, and are gone with the broker.
    #[must_use]
    pub fn data_path(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data_path = Some(directory.into());
        self
    }

    /// Adds an nsqlookupd (`host:port` of its TCP listener) at which the broker registers itself, its topics and its
    /// channels, so that clients of the cluster find it.
    ///
    /// The default is none. As nsqd's `--lookupd-tcp-address`.
    #[cfg(feature = "lookupd")]
    #[must_use]
    pub fn lookupd_tcp_address(mut self, address: impl Into<String>) -> Self {
        self.lookupd.tcp_addresses.push(address.into());
        self
    }

    /// The TCP port by which clients of the cluster reach the broker.
    ///
    /// The default is the port that it listens on. As nsqd's `--broadcast-tcp-port`.
    #[cfg(feature = "lookupd")]
    #[must_use]
    pub fn broadcast_tcp_port(mut self, port: u16) -> Self {
        self.lookupd.broadcast_tcp_port = Some(port);
        self
    }

    /// The HTTP port by which tools reach the broker.
    ///
    /// The default is the port that it listens on, or without one the TCP port, since nsqlookupd insists on one. As nsqd's `--broadcast-http-port`.
    #[cfg(feature = "lookupd")]
    #[must_use]
    pub fn broadcast_http_port(mut self, port: u16) -> Self {
        self.lookupd.broadcast_http_port = Some(port);
        self
    }

    /// Whether a [data path](Self::data_path) is set, so that messages outlive a clean stop.
    pub fn keeps_messages(&self) -> bool {
        self.data_path.is_some()
    }

    /// Whether clients may ask for snappy. They may by default, as with nsqd's `--snappy`.
    #[must_use]
    pub fn snappy(mut self, enabled: bool) -> Self {
        self.snappy = enabled;
        self
    }

    /// Whether clients may ask for deflate. They may by default, as with nsqd's `--deflate`.
    #[must_use]
    pub fn deflate(mut self, enabled: bool) -> Self {
        self.deflate = enabled;
        self
    }

    /// The highest deflate level that a client gets, 1 to 9 (what is beyond counts as the nearest).
    ///
    /// The default is 6, as nsqd's `--max-deflate-level`: higher ones take much more time for little.
    #[must_use]
    pub fn max_deflate_level(mut self, level: u8) -> Self {
        self.max_deflate_level = level.clamp(1, 9);
        self
    }

    /// Asks clients for a secret before they publish or subscribe, and lets `auth` say what it allows.
    ///
    /// By default, clients are not asked.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// Lets clients change to TLS, or requires it.
    ///
    /// By default there is none, since it needs a certificate.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_message_size: self.max_message_size,
            max_body_size: self.max_body_size,
            max_delay: self.max_requeue_timeout,
            ..Limits::default()
        }
    }
}
