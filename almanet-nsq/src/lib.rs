//! An [NSQ] client: confirmed publishes, subscriptions that answer each message, connections that heal themselves.
//!
//! A [`Producer`] publishes to one broker, and every publish says what became of it: taken in by the broker,
//! refused, never sent, or sent and unconfirmed. A [`Consumer`] reads one channel from any number of brokers and
//! hands out [`Delivery`]s, each of which is finished, requeued or touched on the connection that it came on. Both
//! reconnect by themselves, for ever, and both work with nsqd and with Almanet's embedded broker.
//!
//! ```no_run
//! use almanet_nsq::{ChannelName, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicName};
//! use bytes::Bytes;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let topic = TopicName::new("orders")?;
//!
//! let producer = Producer::connect("127.0.0.1:4150", ProducerConfig::default()).await?;
//! producer.publish(&topic, Bytes::from_static(b"one coffee")).await?;
//!
//! let channel = ChannelName::new("kitchen")?;
//! let mut consumer =
//!     Consumer::connect(["127.0.0.1:4150"], topic, channel, ConsumerConfig::default()).await?;
//! if let Some(delivery) = consumer.recv().await {
//!     println!("{:?}, attempt {}", delivery.body(), delivery.attempts());
//!     delivery.finish()?;
//! }
//!
//! consumer.close().await;
//! producer.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Over several brokers, a [`ProducerPool`] publishes to those that work, and what one of them does not take goes to
//! another. Where brokers come and go, a [`Lookup`] asks nsqlookupd for them: [`ProducerPool::discover`] publishes to
//! those that are there, and [`Consumer::discover`] stays subscribed on them.
//!
//! What happens to connections is in the log (`tracing`), and an observer can be told:
//! [`ConnectionConfig::observer`].
//!
//! A consumer sets RDY by what it sees ([`Window::Adaptive`]): a lone message comes at once, and under load many
//! messages share one write. A producer merges what is published at once. Neither needs tuning.
//!
//! A consumer [backs off](ConsumerConfig::backoff) while messages fail. What comes [too often](ConsumerConfig::max_attempts) can be
//! [put elsewhere](ConsumerConfig::on_give_up); nothing is given up unless that is asked for.
//!
//! NSQ delivers at least once and in no fixed order: a message can come twice, so handle it such that this does
//! no harm.
//!
//! Connections can be secured with TLS, compressed, and authenticated; see [`ConnectionConfig`]. What is configured
//! and not granted by the broker is an error, never a connection with less:
//!
#![cfg_attr(feature = "tls", doc = "```no_run")]
#![cfg_attr(not(feature = "tls"), doc = "```ignore")]
//! use almanet_nsq::{Compression, ConnectionConfig, ProducerConfig, Tls};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let connection = ConnectionConfig::default()
//!     .tls(Tls::builder().ca_file("/etc/nsq/ca.pem").build()?)
//!     .compression(Compression::Snappy)
//!     .auth_secret(std::env::var("NSQ_SECRET")?);
//! let config = ProducerConfig::default().connection(connection);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `tls` (default): encryption with rustls and ring. Its build takes longer than the rest together and needs a C
//!   compiler, so it can be left out.
//!
//! [NSQ]: https://nsq.io

mod compression;
mod config;
mod connection;
mod consumer;
mod error;
mod lookup;
mod producer;
#[cfg(feature = "tls")]
mod tls;

pub use almanet_nsq_proto::{
    ChannelName, ErrorCode, InvalidName, MAX_NAME_LENGTH, MessageId, ProtocolError, TopicName,
};
pub use compression::{Compression, DeflateLevel};
pub use config::{ConnectionConfig, ProducerConfig, Window};
pub use connection::{ConnectionChange, ConnectionEvent, ConnectionRole};
pub use consumer::{Consumer, ConsumerConfig, Delivery, Expected, SampleRate};
pub use error::{AnswerError, ConnectError, Feature, PublishError};
pub use lookup::{Lookup, LookupConfig, LookupError, Nodes, TopicList};
pub use producer::{
    Duplicates, FailedPost, PoolNode, PostFailed, Posted, Producer, ProducerPool, ProducerPoolConfig,
};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsBuilder, TlsError};

/// The snippets of the guide compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/nsq-client.md")]
struct Guide;
