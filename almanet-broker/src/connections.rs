//! Who is connected, for those who ask.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use almanet_nsq_proto::TopicName;
use parking_lot::Mutex;

use crate::{channel::SubscriberId, step::unix_nanos};

/// How many topics a connection's publishes are told apart by.
const COUNTED_TOPICS: usize = 4;

/// The open connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Mutex<BTreeMap<SubscriberId, Arc<Connection>>>,
    accepted: AtomicU64,
}

impl Connections {
    /// Lists a connection until the guard is dropped.
    pub(crate) fn enter(&self, id: SubscriberId, peer: SocketAddr) -> Entry<'_> {
        let connection = Arc::new(Connection::new(id, peer));
        self.open.lock().insert(id, Arc::clone(&connection));
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Entry {
            connections: self,
            connection,
        }
    }

    /// All that are open, the oldest first.
    pub(crate) fn open(&self) -> Vec<Arc<Connection>> {
        self.open.lock().values().cloned().collect()
    }

    pub(crate) fn get(&self, id: SubscriberId) -> Option<Arc<Connection>> {
        self.open.lock().get(&id).cloned()
    }

    pub(crate) fn open_count(&self) -> usize {
        self.open.lock().len()
    }

    /// How many were let in since the start.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// Keeps a connection listed.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    connections: &'a Connections,
    connection: Arc<Connection>,
}

impl Entry<'_> {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.connections.open.lock().remove(&self.connection.id);
    }
}

/// What statistics say of a connection, beside its subscription.
#[derive(Debug)]
pub(crate) struct Connection {
    id: SubscriberId,
    peer: SocketAddr,
    /// Seconds since 1970.
    since: i64,
    description: Mutex<Description>,
    published: OnceLock<Box<Published>>,
}

/// What a client says of itself, and what became of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) client_id: String,
    pub(crate) hostname: String,
    pub(crate) user_agent: String,
    /// Percentage of messages, 0 for all.
    pub(crate) sample_rate: u8,
    pub(crate) compression: Option<Compression>,
    /// `None` in plain.
    pub(crate) tls: Option<TlsDescription>,
    /// `None` until a secret was shown that allows something.
    pub(crate) identity: Option<Box<Identity>>,
}

/// How the bytes of a connection are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Snappy,
    /// With this level.
    Deflate(u8),
}

/// What was agreed with a client for TLS, in Go's words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TlsDescription {
    pub(crate) version: &'static str,
    pub(crate) cipher_suite: &'static str,
}

/// Whom the auth server takes a client for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) url: String,
}

/// How many messages a connection has published to each of its first topics.
#[derive(Debug, Default)]
struct Published {
    topics: [OnceLock<(TopicName, AtomicU64)>; COUNTED_TOPICS],
}

impl Connection {
    fn new(id: SubscriberId, peer: SocketAddr) -> Self {
        // Until it says otherwise, a client is called after its address, as in nsqd.
        let host = peer.ip().to_string();
        Self {
            id,
            peer,
            since: unix_nanos() / 1_000_000_000,
            description: Mutex::new(Description {
                client_id: host.clone(),
                hostname: host,
                user_agent: String::new(),
                sample_rate: 0,
                compression: None,
                tls: None,
                identity: None,
            }),
            published: OnceLock::new(),
        }
    }

    pub(crate) fn id(&self) -> SubscriberId {
        self.id
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// When it was made, in seconds since 1970.
    pub(crate) fn since(&self) -> i64 {
        self.since
    }

    /// Changes the description.
    pub(crate) fn describe(&self, change: impl FnOnce(&mut Description)) {
        change(&mut self.description.lock());
    }

    pub(crate) fn description(&self) -> Description {
        self.description.lock().clone()
    }

    /// Counts messages that the client has published. Only its own task calls this, so no count is contended.
    ///
    /// A client's publishes are told apart for its first topics only: a service publishes its replies to as many
    /// topics as it has callers. nsqd's statistics show one of a client's topics.
    pub(crate) fn count_published(&self, topic: &TopicName, messages: u64) {
        let published = self.published.get_or_init(Box::default);
        for slot in &published.topics {
            let (name, count) = slot.get_or_init(|| (topic.clone(), AtomicU64::new(0)));
            if name == topic {
                count.store(count.load(Ordering::Relaxed) + messages, Ordering::Relaxed);
                return;
            }
        }
    }

    /// How many messages went to each of its first topics; `None` when it has published nothing.
    pub(crate) fn published(&self) -> Option<Vec<(TopicName, u64)>> {
        let counts = self.published.get()?.topics.iter().filter_map(OnceLock::get);
        let counts = counts.map(|(topic, count)| (topic.clone(), count.load(Ordering::Relaxed)));
        Some(counts.collect())
    }
}
