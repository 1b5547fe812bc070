//! What a handler can learn about the event that it is given.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use almanet_nsq::{ChannelName, MessageId, TopicName};
use tokio_util::sync::CancellationToken;

use crate::{cancellation::Cancellation, event::header, session::Session, wire::Headers};

/// The circumstances of one event, given to a handler that asks for them. Cheap to clone.
///
/// ```
/// use almanet::{EventContext, consumer};
///
/// /// Says how it goes.
/// #[consumer(topic = "net.example.joined", channel = "mailer")]
/// async fn welcome(context: EventContext, name: String) {
///     println!("{name} joined, attempt {}", context.attempt());
/// }
/// ```
#[derive(Clone)]
pub struct EventContext {
    shared: Arc<Shared>,
}

/// What the events of one consumer have in common.
pub(super) struct Surroundings {
    pub(super) session: Session,
    pub(super) channel: ChannelName,
    /// What metrics call the channel.
    #[cfg(feature = "metrics")]
    pub(super) channel_label: Arc<str>,
}

struct Shared {
    surroundings: Arc<Surroundings>,
    topic: TopicName,
    node: Arc<str>,
    about: About,
}

/// What is different for each attempt at an event.
pub(super) struct About {
    pub(super) id: MessageId,
    /// Since 1970.
    pub(super) published: Duration,
    /// `None` without an envelope: to drop headers costs something even where there are none.
    pub(super) headers: Option<Headers>,
    pub(super) attempt: u32,
    pub(super) last_attempt: bool,
    pub(super) cancellation: Cancellation,
}

/// Says that the attempt is over when it is dropped, however that comes.
pub(super) struct End(pub(super) EventContext);

impl Drop for End {
    fn drop(&mut self) {
        self.0.over();
    }
}

impl EventContext {
    /// The circumstances of an attempt, in the memory of another that is over, where nobody else has that any more.
    ///
    /// Both are of one consumer.
    pub(super) fn reusing(
        spare: Option<Self>,
        surroundings: &Arc<Surroundings>,
        topic: &TopicName,
        node: &Arc<str>,
        about: About,
    ) -> Self {
        if let Some(mut spare) = spare
            && let Some(shared) = Arc::get_mut(&mut spare.shared)
        {
            shared.about = about;
            // Mostly they are the same, and it costs more to share them than to look.
            if shared.topic != *topic {
                shared.topic = topic.clone();
            }
            if !Arc::ptr_eq(&shared.node, node) {
                shared.node = Arc::clone(node);
            }
            return spare;
        }
        Self {
            shared: Arc::new(Shared {
                surroundings: Arc::clone(surroundings),
                topic: topic.clone(),
                node: Arc::clone(node),
                about,
            }),
        }
    }

    /// The session that consumes, for calls and events of its own.
    pub fn session(&self) -> &Session {
        &self.shared.surroundings.session
    }

    /// The topic that the event was published to.
    pub fn topic(&self) -> &TopicName {
        &self.shared.topic
    }

    /// The channel that it is consumed on.
    pub fn channel(&self) -> &ChannelName {
        &self.shared.surroundings.channel
    }

    /// What metrics call the channel.
    #[cfg(feature = "metrics")]
    pub(crate) fn channel_label(&self) -> &Arc<str> {
        &self.shared.surroundings.channel_label
    }

    /// The broker's name for the message. It stays the same when the message is delivered again by the same node; a
    /// replayed dead letter and a duplicate from another node have another.
    pub fn message_id(&self) -> MessageId {
        self.shared.about.id
    }

    /// The node that delivered the message.
    pub fn node(&self) -> &str {
        &self.shared.node
    }

    /// When the broker took the message in, by its clock.
    pub fn published(&self) -> SystemTime {
        let published = SystemTime::UNIX_EPOCH.checked_add(self.shared.about.published);
        published.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// What travelled beside the event. Almanet's own begin with `almanet-`.
    pub fn headers(&self) -> &Headers {
        self.shared.about.headers.as_ref().unwrap_or(Headers::NONE)
    }

    /// The version of the event's type that its publisher had ([`Event::VERSION`](trait@crate::Event)). `None` for a bare
    /// payload, and for what was published without a type: only events that travel in an envelope tell it.
    pub fn event_version(&self) -> Option<u32> {
        header::version(self.headers())
    }

    /// How often the event has been handled, this time included. Above 1, an earlier attempt may have done some of the
    /// work.
    pub fn attempt(&self) -> u32 {
        self.shared.about.attempt
    }

    /// Whether the event goes to the dead letters if it fails now.
    pub fn is_last_attempt(&self) -> bool {
        self.shared.about.last_attempt
    }

    /// Fires when the attempt is given up: its time is up, or the service is cut off. The handler's future is dropped
    /// then, so only what it has spawned needs to look.
    pub fn cancellation(&self) -> &CancellationToken {
        self.shared.about.cancellation.token()
    }

    /// The attempt is over.
    pub(super) fn over(&self) {
        self.shared.about.cancellation.end();
    }
}

impl fmt::Debug for EventContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventContext")
            .field("topic", &self.shared.topic)
            .field("channel", &self.shared.surroundings.channel)
            .field("id", &self.shared.about.id)
            .field("headers", self.headers())
            .field("attempt", &self.shared.about.attempt)
            .finish_non_exhaustive()
    }
}
