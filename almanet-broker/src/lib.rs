//! A broker for one machine that speaks [NSQ]'s TCP protocol, and its HTTP interface.
//!
//! NSQ clients in any language work against it as against nsqd 1.3.0: topics and channels made by their first
//! user, `#ephemeral`, RDY, messages in flight with timeouts, TOUCH, requeued and deferred messages, heartbeats,
//! sampling, TLS (feature `tls`), snappy and deflate, AUTH ([`Auth`]), and nsqd's limits and error texts. It runs inside a
//! process:
//!
//! ```
//! use almanet_broker::{Broker, BrokerConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::start(BrokerConfig::default()).await?;
//! let address = broker.tcp_addr();
//! # let _ = address;
//! // Connect NSQ clients to `address`; then
//! broker.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! or on its own, as the program `almanet-broker` with nsqd's flags.
//!
//! # Features
//!
//! - `http`: nsqd's HTTP interface for its tools, and metrics for Prometheus (`BrokerConfig::http_address`). It is not
//!   for free at build time, and an embedded broker's owner needs it only to let others look in.
//! - `lookupd`: registration at nsqlookupd, so that the broker can stand beside nsqd nodes
//!   (`BrokerConfig::lookupd_tcp_address`).
//! - `tls` (default): TLS for clients (`BrokerConfig::tls`), for HTTP (`BrokerConfig::https_address`), and to auth servers.
//! - `binary` (default): the program, with `http` and `lookupd`.
//!
//! It serves development, tests and deployments of a single machine. It does not replicate. Messages are kept in
//! memory; with a [data path](BrokerConfig::data_path) they outlive a clean stop. Past one machine, the same clients run
//! against nsqd and nsqlookupd.
//!
//! # Unlike nsqd
//!
//! - It sends as soon as it has nothing more to gather, and says so in its answer to IDENTIFY
//!   (`flushes_when_idle`). The output buffer that a client asks for is checked and answered, but not waited for.
//! - What a connection had in flight when it ended goes to other subscribers at once, not after the message timeout.
//! - Memory is bounded ([`BrokerConfig::max_channel_depth`], [`BrokerConfig::max_memory`]): where nsqd writes to its
//!   disk, publishers are refused with `E_PUB_FAILED`, `E_MPUB_FAILED` or `E_DPUB_FAILED`, and the log says which
//!   limit it is. Ephemeral channels drop what comes beyond 10,000 waiting messages, as nsqd's do by default.
//! - An ephemeral topic that has no channel, as a late reply to a caller that is gone makes one, keeps at most 10,000
//!   messages and is removed 60 s after its last. nsqd keeps it until it is restarted.
//! - The delay of a message that is deferred in a topic without a channel counts from when it was published; in nsqd
//!   it counts from when the first channel is made.
//! - An MPUB has to hold exactly as many bytes as it announces; nsqd reads the surplus as further messages or commands.
//! - A connection is upgraded once, and what a client sends in plain behind an IDENTIFY that asked for TLS ends it. TLS
//!   begins with version 1.2.
//! - A single secret can stand in for an auth server ([`Auth::secret`]). Auth servers' redirections are not followed.
//! - Registered at nsqlookupd (feature `lookupd`), a topic that is new here gets the channels that it has on other
//!   nodes, as in nsqd. nsqd's first publisher waits until nsqlookupd has named them; here it has its `OK` at once, and
//!   the topic holds its messages back until then, for 2 s at most. Ephemeral topics do not ask, and of more than 256
//!   new topics at a time only so many.
//! - A lost connection to nsqlookupd is noticed and made again at once, not at the next PING.
//! - A client that does not read gets no further messages once 1 MiB waits for it; they go to the others.
//!
//! [NSQ]: https://nsq.io

#![cfg_attr(
    not(feature = "http"),
    allow(
        dead_code,
        reason = "only the HTTP interface asks for statistics and lets operators act"
    )
)]

mod auth;
mod broker;
mod channel;
mod client;
mod config;
mod connections;
mod error;
#[cfg(feature = "http")]
mod http;
mod http_client;
mod limits;
#[cfg(feature = "lookupd")]
mod lookupd;
mod lookupd_addresses;
mod registration;
mod registry;
mod saved;
mod server;
#[cfg(feature = "http")]
mod stats;
mod step;
mod store;
mod timer;
#[cfg(feature = "tls")]
mod tls;
mod topic;
mod version;

pub use auth::{Auth, AuthError};
pub use broker::Broker;
pub use config::BrokerConfig;
#[cfg(feature = "http")]
pub use config::{Percentile, PercentileError};
pub use error::{StartError, StopError};
#[cfg(feature = "tls")]
pub use tls::{ClientAuth, Tls, TlsBuilder, TlsError, TlsVersion};
