//! What the integration tests share: a broker to test against, a proxy that does harm to the way there, a soak, a
//! procedure to call, and names that no two tests share.

pub mod proxy;
pub mod soak;

use std::convert::Infallible;

use almanet::{Broker, BrokerConfig, Context, Procedure, Session, SessionBuilder};
use uuid::Uuid;

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
