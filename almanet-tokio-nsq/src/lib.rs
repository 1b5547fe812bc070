//! Almanet's [`Transport`](almanet::transport::Transport) over the crate [tokio-nsq].
//!
//! It is the check that Almanet talks to programs that use another NSQ client, and the baseline that the benchmarks
//! compare with. It is not for production: the page [`docs/tokio-nsq.md`] lists what tokio-nsq cannot do, and why
//! [`almanet::transport::NsqTransport`] is Almanet's own.
//!
//! ```
//! use almanet::{Broker, BrokerConfig, Session};
//! use almanet_tokio_nsq::{TokioNsqTransport, TokioNsqTransportConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::start(BrokerConfig::default()).await?;
//! let address = broker.tcp_addr().to_string();
//! let transport = TokioNsqTransport::connect([address], TokioNsqTransportConfig::default()).await?;
//!
//! let session = Session::builder().transport(transport).connect().await?;
//! session.produce("net.example.joined", "Aidar").await?;
//! session.leave().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [tokio-nsq]: https://crates.io/crates/tokio-nsq
//! [`docs/tokio-nsq.md`]: https://github.com/almanet/almanet/blob/main/docs/tokio-nsq.md

mod config;
mod delivery;
mod error;
mod node;
mod reader;
mod subscription;
mod transport;

pub use config::TokioNsqTransportConfig;
pub use error::NotConnected;
pub use transport::TokioNsqTransport;
