//! The broker as its owner sees it.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[cfg(feature = "http")]
use crate::http::{self, Api};
use crate::{config::BrokerConfig, error::StartError, registry::Registry, server, timer};

/// A running broker.
///
/// It lives in tasks of the tokio runtime it was started on, and ends with this handle: [`stop`](Self::stop) waits
/// until it has ended, dropping the handle only makes it end.
///
/// ```
/// use almanet_broker::{Broker, BrokerConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), almanet_broker::StartError> {
/// let broker = Broker::start(BrokerConfig::default()).await?;
/// println!("NSQ clients may connect to {}", broker.tcp_addr());
/// broker.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the broker stops when its handle is dropped"]
pub struct Broker {
    tcp_addr: SocketAddr,
    #[cfg(feature = "http")]
    http_addr: Option<SocketAddr>,
    tasks: TaskTracker,
    stopped: CancellationToken,
}

impl Broker {
    /// Starts a broker. It listens when this resolves.
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`] when an address cannot be listened on.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, no broker has been started and nothing is left behind.
    pub async fn start(config: BrokerConfig) -> Result<Self, StartError> {
        let (listener, tcp_addr) = listen(config.tcp_address).await?;
        #[cfg(feature = "http")]
        let http = match config.http_address {
            Some(address) => Some(listen(address).await?),
            None => None,
        };

        let tasks = TaskTracker::new();
        let stopped = CancellationToken::new();
        let config = Arc::new(config);
        let registry = Arc::new(Registry::new(&config));
        #[cfg(feature = "http")]
        let http_addr = http.map(|(listener, http_addr)| {
            let api = Api::new(Arc::clone(&config), Arc::clone(&registry), tcp_addr, http_addr);
            tasks.spawn(http::run(listener, Arc::new(api), tasks.clone(), stopped.clone()));
            tracing::info!("HTTP: listening on {http_addr}");
            http_addr
        });
        tasks.spawn(server::run(
            listener,
            config,
            Arc::clone(&registry),
            tasks.clone(),
            stopped.clone(),
        ));
        let timer_stopped = stopped.clone();
        tasks.spawn(async move { timer::run(&registry, &timer_stopped).await });
        tracing::info!("TCP: listening on {tcp_addr}");
        Ok(Self {
            tcp_addr,
            #[cfg(feature = "http")]
            http_addr,
            tasks,
            stopped,
        })
    }

    /// Where it listens for NSQ clients; with the port that was chosen, when the configuration said 0.
    pub fn tcp_addr(&self) -> SocketAddr {
        self.tcp_addr
    }

    /// Where it listens for HTTP, if the configuration [says so](BrokerConfig::http_address); with the port that was
    /// chosen, when that was 0.
    #[cfg(feature = "http")]
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http_addr
    }

    /// Closes the listeners and all connections, and waits until that is done.
    ///
    /// Frames that are already written are sent first, for a second at most. Messages are kept in memory only: what
    /// was not consumed is lost.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the broker ends all the same, without anybody waiting for it.
    pub async fn stop(self) {
        self.stopped.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        tracing::info!("TCP: closed {}", self.tcp_addr);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    server::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })
}
