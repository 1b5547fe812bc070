//! The echo service, and the call to it that is measured.

use std::{convert::Infallible, fmt, str::FromStr, time::Duration};

use almanet::{
    Context, Procedure, Service, ServiceHandle, Session,
    transport::{NsqTransportConfig, Window},
};
use almanet_tokio_nsq::{TokioNsqTransport, TokioNsqTransportConfig};
use clap::ValueEnum;
use serde::Serialize;
use serde_bytes::ByteBuf;
use tokio::time::sleep;

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

/// How many messages the broker may send before it has answers; a matter of the native client.
#[derive(Debug, Clone, Copy, Default)]
pub struct WindowOption(Window);

impl FromStr for WindowOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("fixed:").map(str::parse)) {
            ("adaptive", _) => Ok(Self(Window::Adaptive)),
            ("unbuffered", _) => Ok(Self(Window::Unbuffered)),
            (_, Some(Ok(count))) => Ok(Self(Window::Fixed(count))),
            _ => Err("write adaptive, fixed:N or unbuffered".to_owned()),
        }
    }
}

impl fmt::Display for WindowOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Window::Fixed(count) => write!(f, "fixed:{count}"),
            Window::Unbuffered => f.write_str("unbuffered"),
            _ => f.write_str("adaptive"),
        }
    }
}

impl Carrier {
    /// A session on the broker at `address`.
    pub async fn connect(self, address: &str, window: WindowOption) -> Result<Session, Failure> {
        match self {
            Self::Native => {
                let config = NsqTransportConfig::default().window(window.0);
                Ok(Session::builder()
                    .addresses(address)
                    .nsq(config)
                    .connect()
                    .await?)
            }
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
    serve_slowly(session, uri, Duration::ZERO).await
}

/// Serves an echo that is `late` under `uri`, until the handle is stopped.
pub async fn serve_slowly(session: &Session, uri: &str, late: Duration) -> Result<ServiceHandle, Failure> {
    let echo = Procedure::new(uri, move |_: Context, body: ByteBuf| async move {
        if !late.is_zero() {
            sleep(late).await;
        }
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
