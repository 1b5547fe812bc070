//! Where the broker listens for HTTP: in plain, over TLS, or both.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    api::Api,
    server::{Door, run},
};
use crate::{broker::listen, config::BrokerConfig, error::StartError, registry::Registry};

/// The listeners there are, each with its address.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    plain: Option<(TcpListener, SocketAddr)>,
    secure: Option<(TcpListener, SocketAddr, Door)>,
}

impl Listeners {
    pub(crate) async fn bind(config: &BrokerConfig) -> Result<Self, StartError> {
        let mut listeners = Self::default();
        if let Some(address) = config.http_address {
            listeners.plain = Some(listen(address).await?);
        }
        #[cfg(feature = "tls")]
        if let (Some(address), Some(tls)) = (config.https_address, &config.tls) {
            let (listener, address) = listen(address).await?;
            listeners.secure = Some((listener, address, Door::Secure(tls.clone())));
        }
        Ok(listeners)
    }

    pub(crate) fn plain_addr(&self) -> Option<SocketAddr> {
        self.plain.as_ref().map(|(_, address)| *address)
    }

    pub(crate) fn secure_addr(&self) -> Option<SocketAddr> {
        self.secure.as_ref().map(|(_, address, _)| *address)
    }

    /// Serves clients until `stopped`, in tasks of `tasks`.
    pub(crate) fn serve(
        self,
        config: &Arc<BrokerConfig>,
        registry: &Arc<Registry>,
        tcp_addr: SocketAddr,
        tasks: &TaskTracker,
        stopped: &CancellationToken,
    ) {
        let (plain_addr, secure_addr) = (self.plain_addr(), self.secure_addr());
        if plain_addr.or(secure_addr).is_none() {
            return;
        }
        let (config, registry) = (Arc::clone(config), Arc::clone(registry));
        let api = Arc::new(Api::new(config, registry, tcp_addr, plain_addr, secure_addr));
        let serve = |listener, door| {
            tasks.spawn(run(
                listener,
                door,
                Arc::clone(&api),
                tasks.clone(),
                stopped.clone(),
            ));
        };
        if let Some((listener, address)) = self.plain {
            serve(listener, Door::Plain);
            tracing::info!("HTTP: listening on {address}");
        }
        if let Some((listener, address, door)) = self.secure {
            serve(listener, door);
            tracing::info!("HTTPS: listening on {address}");
        }
    }
}
