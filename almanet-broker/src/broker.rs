//! The broker as its owner sees it.

use std::{net::SocketAddr, sync::Arc};

use tokio::task::{self, JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::BrokerConfig,
    error::{StartError, StopError},
    registry::Registry,
    saved, server,
    store::{Snapshot, Store},
    timer,
};

#[cfg(feature = "lookupd")]
use crate::lookupd::{Finder, Identity, Lookupds};

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
    #[cfg(feature = "lookupd")]
    lookupds: Arc<Lookupds>,
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
    /// [`StartError::Listen`] when the address cannot be listened on, [`StartError::DataPathInUse`] and
    /// [`StartError::DataPath`] when the data path cannot be used.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, no broker has been started and nothing is left behind.
    pub async fn start(config: BrokerConfig) -> Result<Self, StartError> {
        let store = open_store(&config).await?;
        let address = config.tcp_address;
        let (listener, tcp_addr) = server::bind(address)
            .await
            .map_err(|source| StartError::Listen { address, source })?;
        let registry = Arc::new(Registry::new(&config));
        // Clients that connect meanwhile wait in the listener's queue.
        let store = restore(store, &registry).await?;

        let tasks = TaskTracker::new();
        let stopped = CancellationToken::new();
        #[cfg(feature = "lookupd")]
        let lookupds = {
            let lookupds = Lookupds::new(config.lookupd.tcp_addresses.clone());
            tasks.spawn(Arc::clone(&lookupds).run(
                Identity::new(&config, tcp_addr),
                Arc::clone(&registry),
                tasks.clone(),
                stopped.clone(),
            ));
            let (finder, search) = Finder::new(Arc::clone(&lookupds));
            registry.find_channels_by(finder);
            tasks.spawn(search.run(stopped.clone()));
            lookupds
        };
        tasks.spawn(server::run(
            listener,
            Arc::new(config),
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
            #[cfg(feature = "lookupd")]
            lookupds,
            stopped,
            ended: Some(ended),
        })
    }

    /// Where it listens for NSQ clients; with the port that was chosen, when the configuration said 0.
    pub fn tcp_addr(&self) -> SocketAddr {
        self.tcp_addr
    }

    /// The nsqlookupds (`host:port` of their TCP listeners) at which the broker registers.
    #[cfg(feature = "lookupd")]
    pub fn lookupd_tcp_addresses(&self) -> Vec<String> {
        self.lookupds.addresses()
    }

    /// Sets the nsqlookupds at which the broker registers: at new ones it does so from now on, others let go of it.
    #[cfg(feature = "lookupd")]
    pub fn set_lookupd_tcp_addresses(&self, addresses: impl IntoIterator<Item = impl Into<String>>) {
        let addresses = addresses.into_iter().map(Into::into).collect();
        self.lookupds.set_addresses(addresses);
    }

    /// Closes the listener and all connections, saves what there is, and waits until that is done.
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
