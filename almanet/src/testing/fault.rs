//! What shall go wrong.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::transport::TopicName;

/// What the topics of replies begin with.
const REPLIES: &str = "_rpc_._reply_.";
/// What the topics of procedures begin with.
const CALLS: &str = "_rpc_.";

/// Something that shall go wrong with messages on their way from a session to the broker.
///
/// It concerns every message until it says which: calls, replies, or those of one topic.
///
/// ```
/// use almanet::testing::{Fault, Faults};
///
/// # fn example(faults: &Faults) {
/// faults.inject(Fault::drop_message().of_replies().times(1));
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a fault happens when it is injected"]
pub struct Fault {
    pub(super) kind: Kind,
    target: Target,
    times: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Drop,
    Delay(Duration),
    Duplicate,
    Unconfirmed,
    Refuse,
}

#[derive(Debug, Clone)]
enum Target {
    All,
    Calls,
    Call(String),
    Replies,
    Topic(String),
}

impl Fault {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            target: Target::All,
            times: None,
        }
    }

    /// The message is lost behind its confirmation, as with a broker that dies.
    pub fn drop_message() -> Self {
        Self::new(Kind::Drop)
    }

    /// The message leaves this much later, and its publisher waits as long.
    pub fn delay(delay: Duration) -> Self {
        Self::new(Kind::Delay(delay))
    }

    /// The message is published twice, as when a confirmation is lost and the publisher tries again.
    pub fn duplicate() -> Self {
        Self::new(Kind::Duplicate)
    }

    /// The message is published, but its publisher gets [`PublishError::Unconfirmed`](crate::transport::PublishError).
    pub fn unconfirmed() -> Self {
        Self::new(Kind::Unconfirmed)
    }

    /// The message is not published, and its publisher gets [`PublishError::NotSent`](crate::transport::PublishError).
    pub fn refuse() -> Self {
        Self::new(Kind::Refuse)
    }

    /// Only calls, to whatever procedure.
    pub fn of_calls(mut self) -> Self {
        self.target = Target::Calls;
        self
    }

    /// Only calls to the procedure `uri`.
    pub fn of_call(mut self, uri: impl Into<String>) -> Self {
        self.target = Target::Call(uri.into());
        self
    }

    /// Only replies, and the items of streams.
    pub fn of_replies(mut self) -> Self {
        self.target = Target::Replies;
        self
    }

    /// Only messages to `topic`, such as events.
    pub fn of_topic(mut self, topic: impl Into<String>) -> Self {
        self.target = Target::Topic(topic.into());
        self
    }

    /// So many times, then no more. Default: until [`Faults::clear`].
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    fn concerns(&self, topic: &TopicName) -> bool {
        let topic = topic.as_str();
        let reply = topic.starts_with(REPLIES);
        match &self.target {
            Target::All => true,
            Target::Calls => topic.starts_with(CALLS) && !reply,
            Target::Call(uri) => !reply && topic.strip_prefix(CALLS) == Some(uri),
            Target::Replies => reply,
            Target::Topic(name) => topic == name,
        }
    }
}

/// The faults of a test: what shall go wrong, and how often it did. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    injected: Arc<Mutex<Vec<Fault>>>,
    made: watch::Sender<usize>,
}

impl Faults {
    /// No faults, until some are injected.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `fault` happen from now on. Of several that concern a message, the first that was injected happens.
    pub fn inject(&self, fault: Fault) {
        self.lock().push(fault);
    }

    /// Lets nothing go wrong any more.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// How many messages something happened to.
    pub fn made(&self) -> usize {
        *self.made.borrow()
    }

    /// Waits until something has happened to `count` messages in all.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future changes nothing.
    pub async fn wait_for(&self, count: usize) {
        // An error would say that there is no sender, and this is one.
        let _ = self.made.subscribe().wait_for(|made| *made >= count).await;
    }

    /// Whether something would happen to a message to `topic`.
    pub(super) fn concern(&self, topic: &TopicName) -> bool {
        self.lock().iter().any(|fault| fault.concerns(topic))
    }

    /// What happens to this message to `topic`.
    pub(super) fn take(&self, topic: &TopicName) -> Option<Kind> {
        let mut faults = self.lock();
        let position = faults.iter().position(|fault| fault.concerns(topic))?;
        let fault = faults.get_mut(position)?;
        let kind = fault.kind;
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                drop(faults.remove(position));
            }
        }
        Some(kind)
    }

    /// Counts what has happened to a message.
    pub(super) fn count(&self) {
        self.made.send_modify(|made| *made += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fault>> {
        // Nothing panics while it holds the lock, so the list is whole even if the lock says poisoned.
        self.injected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
