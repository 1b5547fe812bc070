//! The broker as its owner sees it.

use std::{net::SocketAddr, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

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
    tasks: TaskTracker,
    stopped: CancellationToken,
}

impl Broker {
    /// Starts a broker. It listens when this resolves.
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`] when the address cannot be listened on.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, no broker has been started and nothing is left behind.
    pub async fn start(config: BrokerConfig) -> Result<Self, StartError> {
        let address = config.tcp_address;
        let (listener, tcp_addr) = server::bind(address)
            .await
            .map_err(|source| StartError::Listen { address, source })?;

        let tasks = TaskTracker::new();
        let stopped = CancellationToken::new();
        let registry = Arc::new(Registry::new(&config));
        tasks.spawn(server::run(
            listener,
            Arc::new(config),
            Arc::clone(&registry),
            tasks.clone(),
            stopped.clone(),
        ));
        let timer_stopped = stopped.clone();
        tasks.spawn(async move { timer::run(&registry, &timer_stopped).await });
        tracing::info!("TCP: listening on {tcp_addr}");
        Ok(Self {
            tcp_addr,
            tasks,
            stopped,
        })
    }

    /// Where it listens for NSQ clients; with the port that was chosen, when the configuration said 0.
    pub fn tcp_addr(&self) -> SocketAddr {
        self.tcp_addr
    }

    /// Closes the listener and all connections, and waits until that is done.
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
