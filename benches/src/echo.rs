//! The echo service, and the call to it that is measured.

use std::convert::Infallible;

use almanet::{Context, Procedure, Service, ServiceHandle, Session};
use almanet_tokio_nsq::{TokioNsqTransport, TokioNsqTransportConfig};
use clap::ValueEnum;
use serde::Serialize;
use serde_bytes::ByteBuf;

use crate::Failure;

/// As many calls as nsqd delivers to one connection at a time, by its default.
const CONCURRENCY: usize = 2500;

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// Almanet's own client.
    Native,
    /// The crate tokio-nsq, flushing each millisecond.
    TokioNsq,
}

impl Carrier {
    /// A session on the broker at `address`.
    pub async fn connect(self, address: &str) -> Result<Session, Failure> {
        match self {
            Self::Native => Ok(Session::connect(address).await?),
            Self::TokioNsq => {
                let config = TokioNsqTransportConfig::default();
                let transport = TokioNsqTransport::connect([address.to_owned()], config).await?;
                Ok(Session::builder().transport(transport).connect().await?)
            }
        }
    }
}

/// Serves the echo under `uri`, until the handle is stopped.
pub async fn serve(session: &Session, uri: &str) -> Result<ServiceHandle, Failure> {
    let echo = Procedure::new(uri, |_: Context, body: ByteBuf| async move {
        Ok::<_, Infallible>(body)
    });
    let echo = echo.concurrency(CONCURRENCY);
    Ok(Service::new().procedure(echo).start(session).await?)
}

/// Calls the echo once and compares.
pub async fn call(session: &Session, uri: &str, body: &ByteBuf) -> Result<(), Failure> {
    let echoed: ByteBuf = session.call(uri, body).await?;
    if echoed != *body {
        return Err("the echo is not what was sent".into());
    }
    Ok(())
}
