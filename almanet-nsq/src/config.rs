//! What can be set, and why each default is what it is.

use std::{ops::RangeInclusive, time::Duration};

use almanet_nsq_proto::Secret;

#[cfg(feature = "tls")]
use crate::tls::Tls;
use crate::{
    compression::Compression,
    connection::{ConnectionEvent, Observer},
};

/// The shortest time that makes sense for anything a task waits for again and again.
pub(crate) const SHORTEST: Duration = Duration::from_millis(1);
/// Longer than any process runs, and safe to add to any clock.
pub(crate) const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How a connection to a broker is made and kept.
///
/// ```
/// use std::time::Duration;
///
/// use almanet_nsq::{ConnectionConfig, ProducerConfig};
///
/// let connection = ConnectionConfig::default()
///     .client_id("billing-1")
///     .connect_timeout(Duration::from_secs(2));
/// let producer = ProducerConfig::default().connection(connection);
/// ```
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    pub(crate) client_id: Option<String>,
    pub(crate) hostname: Option<String>,
    pub(crate) user_agent: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) max_message_size: usize,
    pub(crate) max_body_size: usize,
    pub(crate) reconnect_delay: RangeInclusive<Duration>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
    pub(crate) compression: Option<Compression>,
    pub(crate) auth_secret: Option<Secret>,
    pub(crate) observer: Option<Observer>,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            client_id: None,
            hostname: None,
            user_agent: concat!("almanet-nsq/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(30),
            max_message_size: 1024 * 1024,
            max_body_size: 5 * 1024 * 1024,
            reconnect_delay: Duration::from_millis(50)..=Duration::from_secs(10),
            #[cfg(feature = "tls")]
            tls: None,
            compression: None,
            auth_secret: None,
            observer: None,
        }
    }
}

impl ConnectionConfig {
    /// The name by which the broker's statistics show this client.
    ///
    /// Unset by default: nsqd then shows the address that the connection comes from.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// The host that the broker's statistics show for this client.
    ///
    /// Unset by default: nsqd then shows the address that the connection comes from.
    #[must_use]
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = Some(hostname.into());
        self
    }

    /// Name and version of the client that the broker's statistics show; `almanet-nsq/<version>` by default.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// How long one attempt to connect may take, from name resolution to the broker's last greeting.
    ///
    /// 5 s by default: enough for a lost packet or two, short enough to report a wrong address soon.
    #[must_use]
    pub fn connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self
    }

    /// How often the broker asks for a sign of life; a peer that is silent for two intervals is given up.
    ///
    /// 30 s by default, which is nsqd's own. nsqd refuses less than 1 s and more than 60 s.
    #[must_use]
    pub fn heartbeat_interval(mut self, heartbeat_interval: Duration) -> Self {
        self.heartbeat_interval = heartbeat_interval.clamp(SHORTEST, LONGEST);
        self
    }

    /// The largest message in bytes, sent or received.
    ///
    /// 1 MiB by default, as nsqd's `--max-msg-size`. The broker does not tell its limit and closes the connection
    /// on a larger message, so larger ones are refused before they are sent. Set both to the same value.
    #[must_use]
    pub fn max_message_size(mut self, max_message_size: usize) -> Self {
        self.max_message_size = max_message_size;
        self
    }

    /// The largest body in bytes of several messages that are published at once.
    ///
    /// 5 MiB by default, as nsqd's `--max-body-size`. Four bytes for each message and four for all count too.
    #[must_use]
    pub fn max_body_size(mut self, max_body_size: usize) -> Self {
        self.max_body_size = max_body_size;
        self
    }

    /// How long to wait before connecting again: the first delay and the longest one.
    ///
    /// 50 ms to 10 s by default: a broker that restarts is found again at once, one that stays away is not
    /// disturbed. The delay doubles with each failure, and half of it is random so that many clients do not return
    /// in the same moment.
    #[must_use]
    pub fn reconnect_delay(mut self, reconnect_delay: RangeInclusive<Duration>) -> Self {
        self.reconnect_delay = reconnect_delay;
        self
    }

    /// Encrypts connections and verifies the broker's certificate.
    ///
    /// Unset by default, as nsqd has no certificate by default. A broker without TLS is then an error: nothing is
    /// ever sent in plain instead.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Compresses connections, in both directions.
    ///
    /// Unset by default: on a fast network it costs more time than it saves. A broker that does not grant it is an
    /// error.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// The secret that the broker's authorization server knows this client by.
    ///
    /// Unset by default. It is sent to brokers that ask for one (nsqd does with `--auth-http-address`), and to no
    /// others; it is never shown in logs or errors. Combine it with [`tls`](Self::tls), or it travels in plain.
    #[must_use]
    pub fn auth_secret(mut self, secret: impl Into<String>) -> Self {
        self.auth_secret = Some(Secret::new(secret.into()));
        self
    }

    /// Tells `observe` of everything that happens to connections: made, lost and why, attempts that failed, pauses
    /// between them, nodes that are found and let go, a queue that is full.
    ///
    /// Unset by default; the log (`tracing`) has the same. It is called by the tasks that keep the connections, so it
    /// must not block: count, or send to a channel. It is called in the order in which things happen to one
    /// connection.
    ///
    /// ```
    /// use almanet_nsq::{ConnectionChange, ConnectionConfig};
    ///
    /// let connection = ConnectionConfig::default().observer(|event| match &event.change {
    ///     ConnectionChange::Lost { cause } => eprintln!("{} is gone: {cause}", event.address),
    ///     ConnectionChange::Connected { .. } => eprintln!("{} is there", event.address),
    ///     _ => {}
    /// });
    /// ```
    #[must_use]
    pub fn observer(mut self, observe: impl Fn(&ConnectionEvent) + Send + Sync + 'static) -> Self {
        self.observer = Some(Observer::new(observe));
        self
    }

    #[cfg(feature = "tls")]
    pub(crate) fn wants_tls(&self) -> bool {
        self.tls.is_some()
    }

    #[cfg(not(feature = "tls"))]
    #[expect(
        clippy::unused_self,
        reason = "the same signature with and without the feature"
    )]
    pub(crate) fn wants_tls(&self) -> bool {
        false
    }
}

/// How a [`Producer`](crate::Producer) publishes.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    pub(crate) connection: ConnectionConfig,
    pub(crate) publish_timeout: Duration,
    pub(crate) max_queued_bytes: usize,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            connection: ConnectionConfig::default(),
            publish_timeout: Duration::from_secs(15),
            max_queued_bytes: 64 * 1024 * 1024,
        }
    }
}

impl ProducerConfig {
    /// How the connection is made and kept.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionConfig) -> Self {
        self.connection = connection;
        self
    }

    /// How long one publish may take, from the call to the broker's confirmation.
    ///
    /// 15 s by default: it outlasts the restart of a broker, so that such a restart costs time and no publish.
    #[must_use]
    pub fn publish_timeout(mut self, publish_timeout: Duration) -> Self {
        self.publish_timeout = publish_timeout.clamp(SHORTEST, LONGEST);
        self
    }

    /// How many bytes may wait to be sent or confirmed; publishes beyond that wait for room.
    ///
    /// 64 MiB by default. Each publish counts with its messages and 128 bytes for itself. Values above 4 GiB
    /// count as 4 GiB.
    #[must_use]
    pub fn max_queued_bytes(mut self, max_queued_bytes: usize) -> Self {
        self.max_queued_bytes = max_queued_bytes;
        self
    }
}

/// How many messages a broker may send to a [`Consumer`](crate::Consumer) before it has answers, and when it does.
///
/// nsqd gathers messages before it writes them, for up to 250 ms, unless the consumer cannot take more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Window {
    /// As many as make good use of each write and no more: one while there is little to do, so that it comes at
    /// once, and up to 256 while messages queue. The default.
    ///
    /// A broker that says that it never holds messages back (Almanet's embedded one) gets the whole of
    /// [`max_in_flight`](ConsumerConfig::max_in_flight) from the start.
    #[default]
    Adaptive,
    /// Always this many on each connection, within [`max_in_flight`](ConsumerConfig::max_in_flight).
    ///
    /// For bulk work that can wait: a message that does not fill the window comes when nsqd's buffer is written,
    /// 250 ms later by default.
    Fixed(usize),
    /// The whole of [`max_in_flight`](ConsumerConfig::max_in_flight), and nsqd shall gather nothing.
    ///
    /// Each message costs nsqd three small writes then. It is what other NSQ clients offer for low latency.
    Unbuffered,
}

/// How a [`Consumer`](crate::Consumer) reads its channel.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    pub(crate) connection: ConnectionConfig,
    pub(crate) max_in_flight: usize,
    pub(crate) window: Window,
    pub(crate) msg_timeout: Option<Duration>,
    pub(crate) close_timeout: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            connection: ConnectionConfig::default(),
            max_in_flight: 256,
            window: Window::Adaptive,
            msg_timeout: None,
            close_timeout: Duration::from_secs(30),
        }
    }
}

impl ConsumerConfig {
    /// How the connections are made and kept.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionConfig) -> Self {
        self.connection = connection;
        self
    }

    /// How many messages may be unanswered at once, over all connections.
    ///
    /// 256 by default: enough to keep a fast handler busy, few enough to share a channel with other consumers.
    /// Each connection gets its share, at least one message and at most what its broker grants (`max_rdy_count`).
    #[must_use]
    pub fn max_in_flight(mut self, max_in_flight: usize) -> Self {
        self.max_in_flight = max_in_flight;
        self
    }

    /// How many of these the broker may send ahead, and whether it may gather them.
    ///
    /// [`Window::Adaptive`] by default: as fast for a lone message as for a flood.
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// How long the broker waits for the answer to a message before it delivers the message again.
    ///
    /// The broker's own by default (nsqd: 60 s). nsqd refuses less than 1 s and more than its
    /// `--max-msg-timeout` (15 min).
    #[must_use]
    pub fn msg_timeout(mut self, msg_timeout: Duration) -> Self {
        self.msg_timeout = Some(msg_timeout);
        self
    }

    /// How long [`Consumer::close`](crate::Consumer::close) waits for deliveries that are being handled.
    ///
    /// 30 s by default, as long as orchestrators commonly wait before they kill a process.
    #[must_use]
    pub fn close_timeout(mut self, close_timeout: Duration) -> Self {
        self.close_timeout = close_timeout;
        self
    }
}
