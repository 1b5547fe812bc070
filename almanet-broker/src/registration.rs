//! Which topics and channels there are, as they come and go: what nsqlookupd is told.

use almanet_nsq_proto::{ChannelName, TopicName};
use tokio::sync::broadcast;

/// How many changes a listener may be behind. One that is further behind looks at everything anew.
const CAPACITY: usize = 256;

/// A topic, or a channel of a topic. A topic sorts before its channels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Registration {
    pub(crate) topic: TopicName,
    pub(crate) channel: Option<ChannelName>,
}

/// What became of a topic or channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Added(Registration),
    Removed(Registration),
}

/// Tells of topics and channels as they come and go.
///
/// Changes of one topic are told under the lock that they are made under, so that they are heard in their order.
#[derive(Debug)]
pub(crate) struct Changes(broadcast::Sender<Change>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }
}

impl Changes {
    pub(crate) fn added(&self, topic: &TopicName, channel: Option<&ChannelName>) {
        self.tell(Change::Added, topic, channel);
    }

    pub(crate) fn removed(&self, topic: &TopicName, channel: Option<&ChannelName>) {
        self.tell(Change::Removed, topic, channel);
    }

    /// Everything that is told from now on.
    #[cfg(feature = "lookupd")]
    pub(crate) fn listen(&self) -> broadcast::Receiver<Change> {
        self.0.subscribe()
    }

    fn tell(&self, change: fn(Registration) -> Change, topic: &TopicName, channel: Option<&ChannelName>) {
        if self.0.receiver_count() == 0 {
            return;
        }
        let registration = Registration {
            topic: topic.clone(),
            channel: channel.cloned(),
        };
        // Whoever has stopped listening meanwhile misses nothing.
        let _ = self.0.send(change(registration));
    }
}
