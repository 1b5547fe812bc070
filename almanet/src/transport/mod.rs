//! The way to the wire: one trait, and behind it NSQ, or nothing but this process.

mod api;
mod delivery;
mod error;
mod in_process;
mod nsq;

pub use almanet_nsq::{
    AnswerError, ChannelName, Compression, ConnectionChange, ConnectionConfig, ConnectionEvent,
    ConnectionRole, DeflateLevel, Duplicates, Expected, FailedPost, InvalidName, LookupConfig, MessageId,
    PostFailed, Posted, PublishError, TopicName, Window,
};
#[cfg(feature = "tls")]
pub use almanet_nsq::{Tls, TlsBuilder, TlsError};
pub use api::{Arrival, Bodies, Publication, Source, SubscribeOptions, Subscription, Transport};
pub use delivery::{Acknowledge, Delivery};
pub use error::{SubscribeError, TopicsError, TransportConnectError};
pub use in_process::InProcessTransport;
pub use nsq::{NsqTransport, NsqTransportConfig};
