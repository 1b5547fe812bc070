//! What becomes of a message before anybody sees it.

use std::{
    mem,
    sync::Arc,
    time::{Duration, SystemTime},
};

use almanet_nsq::ChannelName;
use bytes::Bytes;

use super::{header, retry::steps};
use crate::{
    telemetry::{Answered, Consumed, Counted, Timing},
    transport::{AnswerError, Delivery},
    wire::{Codec, EnvelopeError, EventBody, Headers, payload_codec},
};

/// What is earlier than this is due: clocks and timers are no more exact.
const DUE_WITHIN: Duration = Duration::from_millis(2);

/// An event that is to be handled.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) delivery: Delivery,
    content: Content,
    /// How often it was delivered to be handled: deliveries in the middle of a long delay do not count.
    pub(super) attempts: u32,
    counted: Counted,
}

/// What a message holds.
#[derive(Debug)]
enum Content {
    /// A payload and nothing else. It stays in the delivery: a clone would have its share in the memory that the bodies of one
    /// read have in common, and several threads count those shares.
    Bare(Codec),
    // Boxed, so that bare payloads carry none of them.
    Enveloped(Box<EventBody>),
    /// For whoever asks what the message is.
    Broken(Box<EnvelopeError>),
}

impl Content {
    fn of(body: &Bytes, default: Codec) -> Self {
        match EventBody::enveloped(body, default) {
            Ok(None) => Self::Bare(payload_codec(body, default)),
            Ok(Some(body)) => Self::Enveloped(Box::new(body)),
            Err(error) => Self::Broken(Box::new(error)),
        }
    }

    fn headers(&self) -> &Headers {
        match self {
            Self::Enveloped(body) => &body.headers,
            Self::Bare(_) | Self::Broken(_) => Headers::NONE,
        }
    }
}

impl Incoming {
    /// What travels beside the payload.
    pub(super) fn headers(&self) -> &Headers {
        self.content.headers()
    }

    /// Takes the headers out of the envelope, if there is one, until the event is [read again](Entrance::read_again).
    pub(super) fn take_headers(&mut self) -> Option<Headers> {
        match &mut self.content {
            Content::Enveloped(body) => Some(mem::take(&mut body.headers)),
            Content::Bare(_) | Content::Broken(_) => None,
        }
    }

    /// The payload and how it is written.
    ///
    /// # Errors
    ///
    /// What is wrong with its envelope.
    pub(super) fn payload(&self) -> Result<(Codec, &Bytes), &EnvelopeError> {
        match &self.content {
            Content::Bare(codec) => Ok((*codec, &self.delivery.body)),
            Content::Enveloped(body) => Ok((body.payload.codec(), body.payload.bytes())),
            Content::Broken(error) => Err(error),
        }
    }

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
        let content = Content::of(&delivery.body, self.codec);
        let mut attempts = u32::from(delivery.attempts);
        let headers = content.headers();
        if !headers.is_empty() {
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
            content,
            attempts: attempts.max(1),
        })
    }

    /// Restores what was taken out of the event.
    pub(super) fn read_again(&self, event: &mut Incoming) {
        event.content = Content::of(&event.delivery.body, self.codec);
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
