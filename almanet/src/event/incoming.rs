//! What becomes of a message before anybody sees it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use almanet_nsq::ChannelName;

use super::{header, retry::steps};
use crate::{
    telemetry::{Answered, Consumed, Counted, Timing},
    transport::{AnswerError, Delivery},
    wire::{Codec, EnvelopeError, EventBody},
};

/// What is earlier than this is due: clocks and timers are no more exact.
const DUE_WITHIN: Duration = Duration::from_millis(2);

/// An event that is to be handled.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) delivery: Delivery,
    /// What the message holds. Broken envelopes are for whoever asks what the message is.
    pub(super) body: Result<EventBody, EnvelopeError>,
    /// How often it was delivered to be handled: deliveries in the middle of a long delay do not count.
    pub(super) attempts: u32,
    counted: Counted,
}

impl Incoming {
    /// An attempt at it begins.
    pub(super) fn begin(&self) -> Timing {
        self.counted.begin()
    }

    /// The event is dealt with, and is counted as `what` has become of it.
    pub(super) fn finish(self, what: Answered) -> Result<(), AnswerError> {
        self.counted.answered(what);
        self.delivery.finish()
    }

    /// The event shall be delivered again after `delay`, and is counted as `what` has become of it.
    pub(super) fn requeue(self, delay: Duration, what: Answered) -> Result<(), AnswerError> {
        self.counted.answered(what);
        self.delivery.requeue(delay)
    }

    /// The event is not yet due: it is delivered again after `delay`, and does not count.
    pub(super) fn defer(self, delay: Duration) {
        self.counted.not_yet();
        answered(self.delivery.requeue(delay));
    }
}

/// How events come in.
#[derive(Debug, Clone)]
pub(super) struct Entrance {
    pub(super) channel: ChannelName,
    /// The codec of payloads that do not tell their own.
    pub(super) codec: Codec,
    pub(super) max_deferral: Duration,
    pub(super) consumed: Arc<Consumed>,
}

impl Entrance {
    /// The event in `delivery`; `None` when it is for another channel or not yet due, and has been answered.
    pub(super) fn admit(&self, delivery: Delivery) -> Option<Incoming> {
        let body = self.read(&delivery);
        let mut attempts = u32::from(delivery.attempts);
        if let Ok(EventBody { headers, .. }) = &body
            && !headers.is_empty()
        {
            if headers
                .get(header::CHANNEL)
                .is_some_and(|only| only != self.channel.as_str())
            {
                answered(delivery.finish());
                return None;
            }
            if let Some(delay) = header::delay(headers) {
                let rest = delay.saturating_sub(age(&delivery));
                if rest > DUE_WITHIN {
                    answered(delivery.requeue(rest.min(self.max_deferral)));
                    return None;
                }
                attempts = attempts.saturating_sub(steps(delay, self.max_deferral) - 1);
            }
        }
        Some(Incoming {
            counted: self.consumed.count(delivery.topic.as_ref()),
            delivery,
            body,
            attempts: attempts.max(1),
        })
    }

    /// What the message holds.
    pub(super) fn read(&self, delivery: &Delivery) -> Result<EventBody, EnvelopeError> {
        EventBody::decode(&delivery.body, self.codec)
    }
}

/// An answer that did not reach the broker: the message comes again, and is answered again.
pub(super) fn answered(answer: Result<(), AnswerError>) {
    if let Err(error) = answer {
        tracing::debug!(%error, "an event will be delivered again");
    }
}

/// How long ago the broker took the message in. A clock that is behind the broker's makes it zero.
fn age(delivery: &Delivery) -> Duration {
    now().saturating_sub(published(delivery))
}

/// When the broker took the message in, since 1970.
pub(super) fn published(delivery: &Delivery) -> Duration {
    Duration::from_nanos(u64::try_from(delivery.timestamp).unwrap_or(0))
}

/// The time since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
