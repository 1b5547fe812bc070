//! What the handlers of requests work on.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use prometheus_client::registry::Registry as Metrics;
use tokio::sync::Semaphore;

use crate::{config::BrokerConfig, registry::Registry, stats::BrokerMetrics};

/// The broker as HTTP shows it.
#[derive(Debug)]
pub(crate) struct Api {
    pub(super) config: Arc<BrokerConfig>,
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Metrics,
    pub(super) tcp_addr: SocketAddr,
    /// Where it listens for plain HTTP.
    pub(super) http_addr: Option<SocketAddr>,
    /// Where it listens for HTTP over TLS.
    pub(super) https_addr: Option<SocketAddr>,
    /// One for each client that may be connected.
    pub(super) places: Arc<Semaphore>,
    pub(super) hostname: String,
    pub(super) start_time: SystemTime,
    pub(super) started: Instant,
}

impl Api {
    pub(crate) fn new(
        config: Arc<BrokerConfig>,
        registry: Arc<Registry>,
        tcp_addr: SocketAddr,
        http_addr: Option<SocketAddr>,
        https_addr: Option<SocketAddr>,
    ) -> Self {
        let start_time = SystemTime::now();
        let places = config.max_http_connections.min(Semaphore::MAX_PERMITS);
        let mut metrics = Metrics::with_prefix("almanet_broker");
        metrics.register_collector(Box::new(BrokerMetrics::new(Arc::clone(&registry), start_time)));
        Self {
            config,
            registry,
            metrics,
            tcp_addr,
            http_addr,
            https_addr,
            places: Arc::new(Semaphore::new(places)),
            hostname: hostname::get()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            start_time,
            started: Instant::now(),
        }
    }

    /// Whether only TLS will do.
    pub(super) fn refuses_plain(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.config.tls {
            return tls.refuses_http();
        }
        false
    }

    /// The name under which others reach this machine: the host's, unless the configuration says another.
    pub(super) fn broadcast_address(&self) -> &str {
        self.config.broadcast_address.as_deref().unwrap_or(&self.hostname)
    }
}
