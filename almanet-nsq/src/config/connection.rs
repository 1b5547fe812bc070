//! The settings of a connection.

use std::{ops::RangeInclusive, time::Duration};

use almanet_nsq_proto::Secret;

use super::{LONGEST, SHORTEST};
#[cfg(feature = "tls")]
use crate::tls::Tls;
use crate::{
    compression::Compression,
    connection::{ConnectionEvent, Observer},
};

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
