//! Almanet over one of its brokers.

use std::sync::Arc;

use almanet::{Broker, BrokerConfig, ServiceHandle, Session};
use almanet_benches::{
    Failure,
    child::Role,
    echo::{self, Carrier, WindowOption},
    load::{self, Bound, Measured},
    usage::listener,
};
use bytes::Bytes;
use serde_bytes::ByteBuf;

/// A service and a caller, each with a session of its own.
pub(crate) struct Almanet {
    broker: Home,
    calling: Session,
    serving: Session,
    service: ServiceHandle,
    uri: Arc<str>,
}

/// Where the broker is.
enum Home {
    Here(#[expect(dead_code, reason = "it runs until it is dropped")] Broker),
    Child(Role),
    Elsewhere(Option<u32>),
}

impl Almanet {
    pub(crate) async fn in_process() -> Result<Self, Failure> {
        let broker = Broker::start(BrokerConfig::default()).await?;
        let address = broker.tcp_addr().to_string();
        Self::start(Home::Here(broker), &address, Carrier::Native).await
    }

    pub(crate) async fn embedded() -> Result<Self, Failure> {
        let broker = Role::start(["--broker"]).await?;
        let address = broker.said().to_owned();
        Self::start(Home::Child(broker), &address, Carrier::Native).await
    }

    pub(crate) async fn over_nsqd(address: &str, carrier: Carrier) -> Result<Self, Failure> {
        let pid = tokio::net::lookup_host(address).await?.find_map(listener);
        Self::start(Home::Elsewhere(pid), address, carrier).await
    }

    async fn start(broker: Home, address: &str, carrier: Carrier) -> Result<Self, Failure> {
        let (serving, calling) = (
            carrier.connect(address, WindowOption::default()).await?,
            carrier.connect(address, WindowOption::default()).await?,
        );
        let uri: Arc<str> = format!("compare.echo_{}", calling.id()).into();
        let service = echo::serve(&serving, &uri).await?;
        Ok(Self {
            broker,
            calling,
            serving,
            service,
            uri,
        })
    }

    pub(crate) async fn call(
        &self,
        concurrency: u64,
        bound: Bound,
        body: &Bytes,
    ) -> Result<Measured, Failure> {
        let (session, uri) = (self.calling.clone(), Arc::clone(&self.uri));
        let body = Arc::new(ByteBuf::from(body.to_vec()));
        load::run(concurrency, bound, move |_| {
            let (session, uri, body) = (session.clone(), Arc::clone(&uri), Arc::clone(&body));
            async move { echo::call(&session, &uri, &body).await }
        })
        .await
    }

    pub(crate) fn broker_pid(&self) -> Option<u32> {
        match &self.broker {
            Home::Here(_) => None,
            Home::Child(role) => role.pid(),
            Home::Elsewhere(pid) => *pid,
        }
    }

    pub(crate) async fn end(self) -> Result<(), Failure> {
        self.service.stop().await;
        self.calling.leave().await?;
        self.serving.leave().await?;
        if let Home::Child(role) = self.broker {
            role.end().await?;
        }
        Ok(())
    }
}
