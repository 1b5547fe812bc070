//! The broker as its owner sees it.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::TcpListener,
    task::{self, JoinHandle},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[cfg(feature = "http")]
use crate::http::Listeners;
use crate::{
    config::BrokerConfig,
    error::{StartError, StopError},
    registry::Registry,
    saved, server,
    store::{Snapshot, Store},
    timer,
};
#[cfg(feature = "lookupd")]
use crate::{
    http_client::HttpClient,
    lookupd::{Finder, Identity, Lookupds},
};

/// A running broker.
///
/// It lives in tasks of the tokio runtime it was started on, and ends with this handle: [`stop`](Self::stop) waits
/// until it has ended, dropping the handle only makes it end.
///
/// ```
/// use almanet_broker::{Broker, BrokerConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Broker::start(BrokerConfig::default()).await?;
/// println!("NSQ clients may connect to {}", broker.tcp_addr());
/// broker.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the broker stops when its handle is dropped"]
pub struct Broker {
    tcp_addr: SocketAddr,
    registry: Arc<Registry>,
    #[cfg(feature = "http")]
    http_addr: Option<SocketAddr>,
    #[cfg(all(feature = "http", feature = "tls"))]
    https_addr: Option<SocketAddr>,
    stopped: CancellationToken,
    /// Ends when everything else has, and all is saved. It ends by itself when nobody waits for it.
    ended: Option<JoinHandle<Result<(), StopError>>>,
}

impl Broker {
    /// Starts a broker. It listens when this resolves, and has everything back that its
    /// [data path](BrokerConfig::data_path) keeps.
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`] when an address cannot be listened on, [`StartError::DataPathInUse`] and
    /// [`StartError::DataPath`] when the data path cannot be used, [`StartError::Tls`] when an auth server is to be asked
    /// over https and there is nothing to verify it with.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, no broker has been started and nothing is left behind.
    pub async fn start(config: BrokerConfig) -> Result<Self, StartError> {
        #[cfg(feature = "tls")]
        let config = if config.asks_over_https() {
            load_trust(config).await?
        } else {
            config
        };
        let store = open_store(&config).await?;
        let (listener, tcp_addr) = listen(config.tcp_address).await?;
        #[cfg(feature = "http")]
        let http = Listeners::bind(&config).await?;
        let config = Arc::new(config);
        let registry = Arc::new(Registry::new(&config));
        // Clients that connect meanwhile wait in the listener's queue.
        let store = restore(store, &registry).await?;

        let tasks = TaskTracker::new();
        let stopped = CancellationToken::new();
        #[cfg(feature = "http")]
        let http_addr = http.plain_addr();
        #[cfg(all(feature = "http", feature = "tls"))]
        let https_addr = http.secure_addr();
        #[cfg(feature = "http")]
        http.serve(&config, &registry, tcp_addr, &tasks, &stopped);
        #[cfg(feature = "lookupd")]
        {
            #[cfg(not(feature = "http"))]
            let http_addr = None;
            let identity = Identity::new(&config, tcp_addr, http_addr);
            let client = config.http_client.clone();
            register(identity, client, &registry, &tasks, &stopped);
        }
        tasks.spawn(server::run(
            listener,
            config,
            Arc::clone(&registry),
            tasks.clone(),
            stopped.clone(),
        ));
        let (timed, timer_stopped) = (Arc::clone(&registry), stopped.clone());
        tasks.spawn(async move { timer::run(&timed, &timer_stopped).await });
        let ended = task::spawn(end(tasks, stopped.clone(), store, Arc::clone(&registry)));
        tracing::info!("TCP: listening on {tcp_addr}");
        Ok(Self {
            tcp_addr,
            registry,
            #[cfg(feature = "http")]
            http_addr,
            #[cfg(all(feature = "http", feature = "tls"))]
            https_addr,
            stopped,
            ended: Some(ended),
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

    /// Where it listens for HTTP over TLS, if the configuration says so and has TLS
    /// ([`https_address`](BrokerConfig::https_address)).
    #[cfg(all(feature = "http", feature = "tls"))]
    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.https_addr
    }

    /// The nsqlookupds (`host:port` of their TCP listeners) at which the broker registers.
    #[cfg(feature = "lookupd")]
    pub fn lookupd_tcp_addresses(&self) -> Vec<String> {
        self.registry.lookupd_addresses().get()
    }

    /// Sets the nsqlookupds at which the broker registers: at new ones it does so from now on, others let go of it.
    #[cfg(feature = "lookupd")]
    pub fn set_lookupd_tcp_addresses(&self, addresses: impl IntoIterator<Item = impl Into<String>>) {
        let addresses = addresses.into_iter().map(Into::into).collect();
        self.registry.lookupd_addresses().set(addresses);
    }

    /// Closes the listeners and all connections, saves what there is, and waits until that is done.
    ///
    /// Frames that are already written are sent first, for a second at most. Then topics, channels and all messages
    /// that nobody has finished go to the [data path](BrokerConfig::data_path). Without one they are lost.
    ///
    /// # Errors
    ///
    /// [`StopError::Save`] when the data path could not be written.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the broker ends and saves all the same, without anybody waiting for it.
    pub async fn stop(mut self) -> Result<(), StopError> {
        self.begin_to_stop();
        if let Some(ended) = self.ended.take() {
            ended.await.map_err(|_| StopError::Runtime)??;
        }
        tracing::info!("TCP: closed {}", self.tcp_addr);
        Ok(())
    }

    fn begin_to_stop(&self) {
        self.registry.halt();
        self.stopped.cancel();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.begin_to_stop();
    }
}

/// Registers at nsqlookupd, now and whenever topics and channels come and go.
#[cfg(feature = "lookupd")]
fn register(
    identity: Identity,
    client: HttpClient,
    registry: &Arc<Registry>,
    tasks: &TaskTracker,
    stopped: &CancellationToken,
) {
    let lookupds = Lookupds::new();
    let (finder, search) = Finder::new(Arc::clone(&lookupds), client);
    registry.find_channels_by(finder);
    tasks.spawn(search.run(stopped.clone()));
    tasks.spawn(lookupds.run(identity, Arc::clone(registry), tasks.clone(), stopped.clone()));
}

pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    server::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })
}

/// Waits until all tasks have ended, and saves.
async fn end(
    tasks: TaskTracker,
    stopped: CancellationToken,
    store: Option<Box<dyn Store>>,
    registry: Arc<Registry>,
) -> Result<(), StopError> {
    stopped.cancelled().await;
    tasks.close();
    tasks.wait().await;
    let Some(mut store) = store else { return Ok(()) };
    let saved = task::spawn_blocking(move || saved::save(&mut *store, &registry)).await;
    saved.map_err(|_| StopError::Runtime)?.map_err(|error| {
        // Nobody may wait for the broker's end and hear of it.
        tracing::error!(cause = %error.source, "messages are lost: {error}");
        error.into()
    })
}

#[cfg(feature = "tls")]
async fn load_trust(mut config: BrokerConfig) -> Result<BrokerConfig, StartError> {
    blocking(move || config.load_trust().map(|()| config).map_err(StartError::Tls)).await
}

async fn open_store(config: &BrokerConfig) -> Result<Option<Box<dyn Store>>, StartError> {
    let Some(path) = config.data_path.clone() else {
        return Ok(None);
    };
    let snapshot = blocking(move || Snapshot::open(&path).map_err(StartError::opening(path))).await?;
    Ok(Some(Box::new(snapshot)))
}

async fn restore(
    store: Option<Box<dyn Store>>,
    registry: &Arc<Registry>,
) -> Result<Option<Box<dyn Store>>, StartError> {
    let Some(mut store) = store else { return Ok(None) };
    let registry = Arc::clone(registry);
    blocking(move || {
        saved::restore(&mut *store, &registry)?;
        Ok(Some(store))
    })
    .await
}

/// Runs what waits for the disk where it holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    task::spawn_blocking(work)
        .await
        .map_err(|_| StartError::Runtime)?
}
