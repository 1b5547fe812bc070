//! What an observer of connections is told.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, SystemTime},
};

use almanet_nsq_proto::{ChannelName, TopicName};
use tracing::error;

/// Something happened to a connection, or to the node that it leads to.
///
/// [`ConnectionConfig::observer`](crate::ConnectionConfig::observer) is told of each.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionEvent {
    /// The broker's address, as it was given or found.
    pub address: Arc<str>,
    /// What the connection is for.
    pub role: ConnectionRole,
    /// When it happened, by this machine's clock.
    pub at: SystemTime,
    /// What happened.
    pub change: ConnectionChange,
}

/// What a connection is for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionRole {
    /// It publishes.
    Producer,
    /// It reads a channel.
    Consumer {
        /// The topic that is read.
        topic: TopicName,
        /// The channel that is read.
        channel: ChannelName,
    },
}

/// What happened to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionChange {
    /// It is there: the broker has greeted, and confirmed the subscription where it is for one.
    Connected {
        /// The broker's version, in its own words.
        version: String,
    },
    /// It was there, and broke.
    Lost {
        /// How it broke.
        cause: String,
    },
    /// An attempt to connect again failed: the broker could not be reached, or refused.
    Failed {
        /// What [`ConnectError`](crate::ConnectError) says about it.
        cause: String,
    },
    /// The next attempt to connect is made after a pause.
    BackingOff {
        /// How long the pause is.
        delay: Duration,
    },
    /// Its owner is done with it: it ended, and is not made again.
    Closed,
    /// nsqlookupd lists the node, and a connection to it is about to be made.
    Found,
    /// nsqlookupd no longer lists the node: its connection is about to be closed.
    LetGo,
    /// The queue of publishes is full, so that further ones wait for room. Told again once there was room meanwhile.
    QueueFull {
        /// How many bytes may be queued.
        limit: usize,
    },
}

/// Whom to tell of what happens to connections.
#[derive(Clone)]
pub(crate) struct Observer(Arc<dyn Fn(&ConnectionEvent) + Send + Sync>);

impl Observer {
    pub(crate) fn new(observe: impl Fn(&ConnectionEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(observe))
    }

    /// A panic of the observer must not end the connection that tells it.
    pub(crate) fn tell(&self, address: &str, role: ConnectionRole, change: ConnectionChange) {
        let event = ConnectionEvent {
            address: address.into(),
            role,
            at: SystemTime::now(),
            change,
        };
        if catch_unwind(AssertUnwindSafe(|| (self.0)(&event))).is_err() {
            error!(address, ?event, "the observer of connections panicked");
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
