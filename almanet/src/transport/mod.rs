//! The way to the wire: one trait, and NSQ behind it.

mod api;
mod nsq;

pub use almanet_nsq::{
    AnswerError, ChannelName, Compression, ConnectionChange, ConnectionConfig, ConnectionEvent,
    ConnectionRole, DeflateLevel, Duplicates, InvalidName, LookupConfig, MessageId, PublishError, TopicName,
    Window,
};
#[cfg(feature = "tls")]
pub use almanet_nsq::{Tls, TlsBuilder, TlsError};
pub use api::{
    Acknowledge, Arrival, Delivery, Publication, Source, SubscribeError, SubscribeOptions, Subscription,
    Transport, TransportConnectError,
};
pub use nsq::{NsqTransport, NsqTransportConfig};
