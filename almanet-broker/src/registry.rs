//! The topics of a broker, by name.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use almanet_nsq_proto::TopicName;
use parking_lot::{Mutex, RwLock};

use crate::{
    config::BrokerConfig,
    connections::Connections,
    limits::{LimitLog, LimitReached, Memory, ROOM_COST},
    lookupd_addresses::LookupdAddresses,
    step::unix_nanos,
    timer::Timer,
    topic::{Topic, TopicContext, TopicReport, Totals},
};

/// All topics. The lock is held to look a name up, never while a message moves.
#[derive(Debug)]
pub(crate) struct Registry {
    topics: RwLock<HashMap<TopicName, Arc<Topic>>>,
    next_topic: AtomicU64,
    context: Arc<TopicContext>,
    limit_log: LimitLog,
    connections: Connections,
    lookupd_addresses: LookupdAddresses,
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
                max_message_timeout: config.max_message_timeout,
                departed: Mutex::default(),
            }),
            limit_log: LimitLog::default(),
            connections: Connections::default(),
            lookupd_addresses: LookupdAddresses::default(),
        }
    }

    /// The topic of this name, made on the spot if need be.
    pub(crate) fn topic(&self, name: &TopicName) -> Result<Arc<Topic>, LimitReached> {
        if let Some(topic) = self.topics.read().get(name) {
            return Ok(Arc::clone(topic));
        }
        let mut topics = self.topics.write();
        if let Some(topic) = topics.get(name) {
            return Ok(Arc::clone(topic));
        }
        self.context.memory.check_room(ROOM_COST)?;
        let number = self.next_topic.fetch_add(1, Ordering::Relaxed);
        let topic = Topic::new(name.clone(), number, Arc::clone(&self.context));
        topics.insert(name.clone(), Arc::clone(&topic));
        drop(topics);
        tracing::debug!(topic = %name, "topic created");
        Ok(topic)
    }

    /// The topic of this name, if there is one.
    pub(crate) fn existing(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.topics.read().get(name).cloned()
    }

    /// Removes a topic with everything in it; says whether there was one.
    pub(crate) fn delete(&self, name: &TopicName) -> bool {
        let Some(topic) = self.topics.write().remove(name) else {
            return false;
        };
        topic.delete();
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

    pub(crate) fn memory(&self) -> &Memory {
        &self.context.memory
    }

    pub(crate) fn timer(&self) -> &Timer {
        &self.context.timer
    }

    pub(crate) fn limit_log(&self) -> &LimitLog {
        &self.limit_log
    }
}
