//! Broker, service and session in one.

use std::net::SocketAddr;

use almanet_broker::{Broker, BrokerConfig};

use super::{fault::Faults, faulty::Faulty, memory::MemoryBroker};
use crate::{
    error::{ConnectError, StartError},
    service::{Service, ServiceHandle},
    session::{Session, SessionBuilder},
    transport::{NsqTransport, NsqTransportConfig},
};

/// A broker, a service on one session and another session that calls it, all ready. Dropped, it all ends.
///
/// ```
/// # use std::convert::Infallible;
/// use almanet::{CallError, Context, Procedure, Service, testing::{Fault, TestBed}};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let double = Procedure::new("net.example.double", |_: Context, number: i64| async move {
///     Ok::<_, Infallible>(number * 2)
/// });
/// let bed = TestBed::in_memory(Service::new().procedure(double)).await?;
/// assert_eq!(bed.session().call::<i64>("net.example.double", &21).await?, 42);
///
/// bed.faults().inject(Fault::drop_message().of_replies().times(1));
/// let lost = bed.session().call::<i64>("net.example.double", &21).await;
/// assert!(matches!(lost, Err(CallError::Timeout { .. }))); // a minute later, by the paused clock
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "it all ends when this is dropped"]
pub struct TestBed {
    caller: Session,
    serving: Session,
    service: Option<ServiceHandle>,
    faults: Faults,
    way: Way,
    settings: fn(SessionBuilder) -> SessionBuilder,
}

/// How sessions reach the broker.
#[derive(Debug)]
enum Way {
    Memory(MemoryBroker),
    /// The brokers, by their number; `None` while one is dead.
    Nodes(Vec<(SocketAddr, Option<Broker>)>),
}

/// Why there is no test bed, or a node of it does not start again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestBedError {
    /// A broker did not start.
    #[error("an embedded broker of the test does not start")]
    Broker(#[source] almanet_broker::StartError),
    /// A session did not connect.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The service did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The broker is in memory, or has no node of this number.
    #[error("the test has no node {number}: it was started with {nodes}")]
    NoNode {
        /// The number that was asked for, from 0.
        number: usize,
        /// How many nodes there are; none in memory.
        nodes: usize,
    },
}

impl TestBed {
    /// Starts an embedded broker on a free port, `service` on it, and a session that can call it at once.
    ///
    /// # Errors
    ///
    /// [`TestBedError`] when one of them does not start.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, nothing is left running.
    pub async fn start(service: Service) -> Result<Self, TestBedError> {
        Self::builder().service(service).start().await
    }

    /// The same without sockets, over a [`MemoryBroker`], so that a paused clock passes over whatever is waited for
    /// (`#[tokio::test(start_paused = true)]`).
    ///
    /// # Errors
    ///
    /// As [`TestBed::start`].
    ///
    /// # Cancel safety
    ///
    /// As [`TestBed::start`].
    pub async fn in_memory(service: Service) -> Result<Self, TestBedError> {
        Self::builder().service(service).in_memory().start().await
    }

    /// All settings, to be followed by [`TestBedBuilder::start`].
    pub fn builder() -> TestBedBuilder {
        TestBedBuilder::default()
    }

    /// The session that calls. The service runs on another.
    pub fn session(&self) -> &Session {
        &self.caller
    }

    /// The session that the service runs on.
    pub fn serving(&self) -> &Session {
        &self.serving
    }

    /// One session more.
    ///
    /// # Errors
    ///
    /// [`TestBedError::Connect`] when no node is alive.
    pub async fn connect(&self) -> Result<Session, TestBedError> {
        connect(&self.way, &self.faults, self.settings).await
    }

    /// What goes wrong with what these sessions publish: nothing, until it is injected.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The addresses of the nodes, for whatever else shall talk to them; none in memory.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match &self.way {
            Way::Memory(_) => Vec::new(),
            Way::Nodes(nodes) => nodes.iter().map(|(address, _)| *address).collect(),
        }
    }

    /// Kills the broker of this number, from 0, with all that it held.
    ///
    /// # Errors
    ///
    /// [`TestBedError::NoNode`] when there is none. One that is dead already stays so.
    pub async fn kill_node(&mut self, number: usize) -> Result<(), TestBedError> {
        if let Some(broker) = self.node(number)?.1.take() {
            // Without a data path there is nothing that could not be saved.
            let _ = broker.stop().await;
        }
        Ok(())
    }

    /// Starts the broker of this number again, empty, where it was. Sessions find it by themselves.
    ///
    /// # Errors
    ///
    /// [`TestBedError`] when there is none, or its port is taken.
    pub async fn restart_node(&mut self, number: usize) -> Result<(), TestBedError> {
        self.kill_node(number).await?;
        let (address, broker) = self.node(number)?;
        *broker = Some(start_broker(*address).await?);
        Ok(())
    }

    fn node(&mut self, number: usize) -> Result<&mut (SocketAddr, Option<Broker>), TestBedError> {
        let nodes = match &mut self.way {
            Way::Memory(_) => return Err(TestBedError::NoNode { number, nodes: 0 }),
            Way::Nodes(nodes) => nodes,
        };
        let count = nodes.len();
        nodes
            .get_mut(number)
            .ok_or(TestBedError::NoNode { number, nodes: count })
    }

    /// Ends everything in order: the service drains, the sessions leave, the brokers stop.
    pub async fn stop(mut self) {
        if let Some(service) = self.service.take() {
            service.stop().await;
        }
        for session in [&self.caller, &self.serving] {
            // The service has ended already, so there is nothing to cut off.
            let _ = session.leave().await;
        }
        if let Way::Nodes(nodes) = self.way {
            for broker in nodes.into_iter().filter_map(|(_, broker)| broker) {
                // Without a data path there is nothing that could not be saved.
                let _ = broker.stop().await;
            }
        }
    }
}

/// The settings of a [`TestBed`].
#[derive(Debug, Default)]
#[must_use = "settings do nothing until `start` is awaited"]
pub struct TestBedBuilder {
    service: Option<Service>,
    in_memory: bool,
    more_nodes: usize,
    settings: Option<fn(SessionBuilder) -> SessionBuilder>,
}

impl TestBedBuilder {
    /// The service to start; several can be [merged](Service::merge). Default: none.
    pub fn service(mut self, service: Service) -> Self {
        self.service = Some(service);
        self
    }

    /// Without sockets, over a [`MemoryBroker`], for a paused clock. It has no nodes.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// How many brokers there are, at least 1. Default: 1.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.more_nodes = nodes.saturating_sub(1);
        self
    }

    /// The settings of the sessions, such as their codec.
    pub fn sessions(mut self, settings: fn(SessionBuilder) -> SessionBuilder) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Starts it all; everything is ready when this returns.
    ///
    /// # Errors
    ///
    /// [`TestBedError`] when something does not start.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, nothing is left running.
    pub async fn start(self) -> Result<TestBed, TestBedError> {
        let settings = self.settings.unwrap_or(|builder| builder);
        let way = if self.in_memory {
            Way::Memory(MemoryBroker::new())
        } else {
            let mut nodes = Vec::new();
            for _ in 0..=self.more_nodes {
                let broker = start_broker(([127, 0, 0, 1], 0).into()).await?;
                nodes.push((broker.tcp_addr(), Some(broker)));
            }
            Way::Nodes(nodes)
        };
        let faults = Faults::new();
        let serving = connect(&way, &faults, settings).await?;
        let service = match self.service {
            Some(service) => Some(service.start(&serving).await?),
            None => None,
        };
        Ok(TestBed {
            caller: connect(&way, &faults, settings).await?,
            serving,
            service,
            faults,
            way,
            settings,
        })
    }
}

async fn start_broker(address: SocketAddr) -> Result<Broker, TestBedError> {
    let config = BrokerConfig::default().tcp_address(address);
    Broker::start(config).await.map_err(TestBedError::Broker)
}

async fn connect(
    way: &Way,
    faults: &Faults,
    settings: fn(SessionBuilder) -> SessionBuilder,
) -> Result<Session, TestBedError> {
    let builder = settings(Session::builder());
    let builder = match way {
        Way::Memory(broker) => builder.transport(Faulty::new(broker.transport(), faults.clone())),
        Way::Nodes(nodes) => {
            let addresses = nodes.iter().map(|(address, _)| address.to_string());
            let transport = NsqTransport::connect(addresses, NsqTransportConfig::default())
                .await
                .map_err(ConnectError::Transport)?;
            builder.transport(Faulty::new(transport, faults.clone()))
        }
    };
    Ok(builder.connect().await?)
}
