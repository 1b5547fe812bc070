//! What the integration tests share: a broker to test against, an auth server for brokers, a proxy that does harm to the way
//! there, a soak, a procedure to call, and names that no two tests share.

pub mod auth;
pub mod proxy;
pub mod soak;

use std::{
    convert::Infallible,
    io::ErrorKind,
    time::{Duration, Instant},
};

use almanet::{Broker, BrokerConfig, Context, Procedure, Session, SessionBuilder};
use almanet_broker::StartError;
use tokio::task::yield_now;
use uuid::Uuid;

/// Much longer than a process takes to begin.
const TAKEN_FOR: Duration = Duration::from_secs(10);

/// The broker that a test runs against: the nsqd that `ALMANET_TEST_NSQD` names, else an embedded one of its own.
#[derive(Debug)]
pub struct TestBroker {
    address: String,
    _embedded: Option<Broker>,
}

impl TestBroker {
    /// Starts the embedded broker, or takes the nsqd that is named.
    pub async fn start() -> Self {
        match std::env::var("ALMANET_TEST_NSQD") {
            Ok(address) => Self {
                address,
                _embedded: None,
            },
            Err(_) => Self::embedded().await,
        }
    }

    /// Starts the embedded broker, for tests whose names others have too.
    pub async fn embedded() -> Self {
        let broker = Broker::start(BrokerConfig::default())
            .await
            .expect("an embedded broker");
        Self {
            address: broker.tcp_addr().to_string(),
            _embedded: Some(broker),
        }
    }

    /// Where it listens, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A session on it.
    pub async fn session(&self) -> Session {
        self.session_with(|builder| builder).await
    }

    /// A session on it with these settings.
    pub async fn session_with(&self, settings: impl FnOnce(SessionBuilder) -> SessionBuilder) -> Session {
        settings(Session::builder().address(&self.address))
            .connect()
            .await
            .expect("a session")
    }
}

/// Starts a broker where another has just stopped, with its address or its data path.
///
/// For a moment both can still be taken: a process that a test starts meanwhile has a copy of all that is open here,
/// until it becomes another program.
///
/// # Errors
///
/// As [`Broker::start`], when they are taken for longer than that moment.
pub async fn start_again(config: &BrokerConfig) -> Result<Broker, StartError> {
    let begun = Instant::now();
    loop {
        match Broker::start(config.clone()).await {
            Err(error) if is_taken(&error) && begun.elapsed() < TAKEN_FOR => yield_now().await,
            outcome => return outcome,
        }
    }
}

fn is_taken(error: &StartError) -> bool {
    match error {
        StartError::Listen { source, .. } => source.kind() == ErrorKind::AddrInUse,
        StartError::DataPathInUse { .. } => true,
        _ => false,
    }
}

/// A name that begins with `prefix` and that no other test, of this run or another, has.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}_{}", &Uuid::new_v4().simple().to_string()[..12])
}

/// A procedure that answers with its payload, a text.
pub fn echo(uri: &str) -> Procedure {
    Procedure::new(uri, |_: Context, text: String| async move {
        Ok::<_, Infallible>(text)
    })
}
