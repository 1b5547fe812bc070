//! Who the broker is, in nsqlookupd's books.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{config::BrokerConfig, version::VERSION};

/// What IDENTIFY says; nsqlookupd refuses a node that leaves one of these empty or 0.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Identity {
    version: &'static str,
    tcp_port: u16,
    http_port: u16,
    hostname: String,
    broadcast_address: String,
}

/// What nsqlookupd answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct LookupdInfo {
    pub(crate) broadcast_address: String,
    pub(crate) http_port: u16,
    pub(crate) version: String,
}

impl Identity {
    /// The identity of a broker that listens on `tcp` and `http`.
    ///
    /// Without a listener for HTTP, the TCP port stands in for the one that nsqlookupd insists on: tools that
    /// ask there get an error, and clients never do.
    pub(crate) fn new(config: &BrokerConfig, tcp: SocketAddr, http: Option<SocketAddr>) -> Self {
        let hostname = hostname::get()
            .ok()
            .and_then(|name| name.into_string().ok())
            .unwrap_or_else(|| tcp.ip().to_string());
        let tcp_port = config.lookupd.broadcast_tcp_port.unwrap_or_else(|| tcp.port());
        let http_port = config
            .lookupd
            .broadcast_http_port
            .or(http.map(|http| http.port()));
        Self {
            version: VERSION,
            tcp_port,
            http_port: http_port.unwrap_or(tcp_port),
            broadcast_address: config
                .broadcast_address
                .clone()
                .unwrap_or_else(|| hostname.clone()),
            hostname,
        }
    }
}

impl LookupdInfo {
    /// Where it answers HTTP; `None` when it does not say.
    pub(crate) fn http_address(&self) -> Option<String> {
        let host = self.broadcast_address.as_str();
        if host.is_empty() || self.http_port == 0 {
            return None;
        }
        let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
        Some(if is_bare_ipv6 {
            format!("[{host}]:{}", self.http_port)
        } else {
            format!("{host}:{}", self.http_port)
        })
    }
}
