//! The topics of a broker, by name.

#[cfg(feature = "lookupd")]
use std::{collections::BTreeSet, sync::OnceLock};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use almanet_nsq_proto::{MessageId, TopicName};
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};

use crate::{
    config::BrokerConfig,
    connections::Connections,
    limits::{LimitLog, LimitReached, Memory, ROOM_COST},
    lookupd_addresses::LookupdAddresses,
    registration::Changes,
    step::unix_nanos,
    store::Record,
    timer::Timer,
    topic::{Topic, TopicContext, TopicReport, Totals},
};

#[cfg(feature = "lookupd")]
use crate::{lookupd::Finder, registration::Registration};

/// All topics. The lock is held to look a name up, never while a message moves.
#[derive(Debug)]
pub(crate) struct Registry {
    topics: RwLock<HashMap<TopicName, Arc<Topic>>>,
    next_topic: AtomicU64,
    context: Arc<TopicContext>,
    limit_log: LimitLog,
    connections: Connections,
    lookupd_addresses: LookupdAddresses,
    #[cfg(feature = "lookupd")]
    finder: OnceLock<Finder>,
}

impl Registry {
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        // Message ids begin at the time of the start, so that an id of an earlier run names no message of this one.
        let first_id = u64::try_from(unix_nanos()).unwrap_or(1);
        Self {
            topics: RwLock::default(),
            next_topic: AtomicU64::new(0),
            context: Arc::new(TopicContext {
                memory: Arc::new(Memory::new(config.max_memory)),
                timer: Timer::default(),
                next_message: AtomicU64::new(first_id),
                max_channel_depth: config.max_channel_depth,
                max_channel_consumers: config.max_channel_consumers,
                max_message_timeout: config.max_message_timeout,
                #[cfg(feature = "http")]
                latency: config.latency.clone(),
                changes: Changes::default(),
                departed: Mutex::default(),
            }),
            limit_log: LimitLog::default(),
            connections: Connections::default(),
            lookupd_addresses: LookupdAddresses::new(config),
            #[cfg(feature = "lookupd")]
            finder: OnceLock::new(),
        }
    }

    /// The topic of this name, made on the spot if need be.
    pub(crate) fn topic(&self, name: &TopicName) -> Result<Arc<Topic>, LimitReached> {
        if let Some(topic) = self.topics.read().get(name) {
            return Ok(Arc::clone(topic));
        }
        let topics = self.topics.write();
        if let Some(topic) = topics.get(name) {
            return Ok(Arc::clone(topic));
        }
        self.context.memory.check_room(ROOM_COST)?;
        let topic = self.create(name);
        #[cfg(feature = "lookupd")]
        if let Some(finder) = self.finder.get() {
            finder.find(&topic);
        }
        self.insert(&topic, topics);
        Ok(topic)
    }

    /// The topic of this name, made on the spot if need be, whether there is room or not.
    pub(crate) fn restore(&self, name: &TopicName) -> Arc<Topic> {
        let topics = self.topics.write();
        match topics.get(name) {
            Some(topic) => Arc::clone(topic),
            None => {
                let topic = self.create(name);
                self.insert(&topic, topics);
                topic
            }
        }
    }

    fn create(&self, name: &TopicName) -> Arc<Topic> {
        let number = self.next_topic.fetch_add(1, Ordering::Relaxed);
        Topic::new(name.clone(), number, Arc::clone(&self.context))
    }

    fn insert(&self, topic: &Arc<Topic>, mut topics: RwLockWriteGuard<'_, HashMap<TopicName, Arc<Topic>>>) {
        let name = topic.name();
        topics.insert(name.clone(), Arc::clone(topic));
        self.context.changes.added(name, None);
        drop(topics);
        tracing::debug!(topic = %name, "topic created");
    }

    /// Has the channels of new topics found from now on.
    #[cfg(feature = "lookupd")]
    pub(crate) fn find_channels_by(&self, finder: Finder) {
        // There is one finder for the life of a broker.
        let _ = self.finder.set(finder);
    }

    /// Tells of topics and channels as they come and go.
    #[cfg(feature = "lookupd")]
    pub(crate) fn changes(&self) -> &Changes {
        &self.context.changes
    }

    /// All topics and channels there are.
    #[cfg(feature = "lookupd")]
    pub(crate) fn registrations(&self) -> BTreeSet<Registration> {
        let topics: Vec<_> = self.topics.read().values().cloned().collect();
        topics.iter().flat_map(|topic| topic.registrations()).collect()
    }

    /// Ends all deliveries for good. Answers and publishes are still taken.
    ///
    /// So what a connection gives back when it ends is not delivered to one that ends a moment later, which would
    /// count as an attempt.
    pub(crate) fn halt(&self) {
        self.topics.read().values().for_each(|topic| topic.halt());
    }

    /// Takes out what shall be saved: the topics that are not ephemeral, and what they have. The rest is forgotten.
    pub(crate) fn take_records(&self, now: Instant) -> impl Iterator<Item = Record> + use<> {
        let topics = std::mem::take(&mut *self.topics.write());
        let mut topics: Vec<_> = topics.into_values().collect();
        topics.retain(|topic| !topic.name().is_ephemeral());
        topics.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        topics.into_iter().flat_map(move |topic| topic.take_records(now))
    }

    /// Makes the ids of new messages greater than that of a message that was saved.
    pub(crate) fn skip_message_id(&self, saved: &MessageId) {
        let digits = str::from_utf8(saved.as_bytes()).unwrap_or_default();
        if let Ok(number) = u64::from_str_radix(digits, 16) {
            let next = number.saturating_add(1);
            self.context.next_message.fetch_max(next, Ordering::Relaxed);
        }
    }

    /// The topic of this name, if there is one.
    pub(crate) fn existing(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.topics.read().get(name).cloned()
    }

    /// Removes a topic with everything in it; says whether there was one.
    pub(crate) fn delete(&self, name: &TopicName) -> bool {
        let mut topics = self.topics.write();
        let Some(topic) = topics.remove(name) else {
            return false;
        };
        topic.delete();
        self.context.changes.removed(name, None);
        true
    }

    /// The reports of all topics, sorted by name.
    pub(crate) fn reports(&self) -> Vec<TopicReport> {
        let mut topics: Vec<_> = self.topics.read().values().cloned().collect();
        topics.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        topics.iter().filter_map(|topic| topic.report()).collect()
    }

    /// What the topics did that are gone.
    pub(crate) fn departed(&self) -> Totals {
        *self.context.departed.lock()
    }

    /// Removes a topic that is gone. Its name may have been taken by a new topic meanwhile, which stays.
    pub(crate) fn forget(&self, topic: &Arc<Topic>) {
        let mut topics = self.topics.write();
        if topics
            .get(topic.name())
            .is_some_and(|known| Arc::ptr_eq(known, topic))
        {
            topics.remove(topic.name());
            self.context.changes.removed(topic.name(), None);
            drop(topics);
            tracing::debug!(topic = %topic.name(), "ephemeral topic gone");
        }
    }

    pub(crate) fn lookupd_addresses(&self) -> &LookupdAddresses {
        &self.lookupd_addresses
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.context.memory
    }

    pub(crate) fn timer(&self) -> &Timer {
        &self.context.timer
    }

    pub(crate) fn limit_log(&self) -> &LimitLog {
        &self.limit_log
    }
}
