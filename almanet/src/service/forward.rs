//! Answers that go to another procedure than the caller's session: as calls of it.

use std::{sync::Arc, time::Duration};

use almanet_nsq::TopicName;
use bytes::Bytes;
use tokio::time::Instant;

use super::{dispatch::Worker, memory::Answer};
use crate::{
    error::{FailedCall, INVALID_RETURN, RemoteError},
    id::Id,
    session::REPLY_TOPIC_PREFIX,
    telemetry,
    transport::{Delivery, Publication, PublishError},
    uri::Uri,
    wire::{Codec, ERRORS_TO, EncodeError, EnvelopeError, Headers, Invocation, Payload, Reply},
};

/// Where the answer of a call goes that nobody waits for.
#[derive(Debug)]
pub(super) struct Forward {
    /// Who is called with the value.
    reply_to: Option<Uri>,
    /// Who is called with the error.
    errors_to: Option<Uri>,
    id: Id,
    caller_id: Id,
    codec: Codec,
    headers: Headers,
    deadline: Option<Instant>,
}

impl Forward {
    /// What becomes of the answer to `invocation`; `None` when its caller waits for it.
    pub(super) fn of(invocation: &mut Invocation) -> Option<Box<Self>> {
        let reply_to = match &invocation.reply_topic {
            Some(topic) if topic.as_str().starts_with(REPLY_TOPIC_PREFIX) => return None,
            // A topic that is no procedure's is that of a caller of another kind.
            Some(topic) => Some(Uri::of_topic(topic)?),
            None => None,
        };
        let errors_to = invocation.headers.remove(ERRORS_TO);
        let errors_to = errors_to.and_then(|uri| match Uri::new(uri) {
            Ok(uri) => Some(uri),
            Err(error) => {
                tracing::warn!(call = %invocation.id, %error, "nobody will hear of the error of a call, if it has one");
                None
            }
        });
        Some(Box::new(Self {
            reply_to,
            errors_to,
            id: invocation.id,
            caller_id: invocation.caller_id,
            codec: invocation.payload.codec(),
            headers: invocation.headers.clone(),
            deadline: None,
        }))
    }

    /// The same for a call that is worth nothing after `deadline`, and so nobody needs its answer then.
    pub(super) fn until(mut self: Box<Self>, deadline: Option<Instant>) -> Box<Self> {
        self.deadline = deadline;
        self
    }

    /// The call by which `answer` is passed on; `None` when it is for nobody.
    fn message(&self, procedure: &Uri, answer: &Answer) -> Result<Option<(TopicName, Bytes)>, EncodeError> {
        let (receiver, payload) = match answer {
            Ok(payload) => (&self.reply_to, payload.clone()),
            Err(error) if self.errors_to.is_some() => {
                let failed = FailedCall::new(procedure.as_str(), self.id, error);
                (&self.errors_to, Payload::encode(self.codec, &failed)?)
            }
            Err(_) => return Ok(None),
        };
        let Some(receiver) = receiver else { return Ok(None) };
        let mut invocation = Invocation::new(self.caller_id, payload);
        invocation.id = self.id;
        invocation.takes_control = false;
        invocation.headers = self.headers.clone();
        invocation.timeout = self.deadline.map(|deadline| {
            // No time at all would be said to be over before it is published.
            let left = deadline.saturating_duration_since(Instant::now());
            left.max(Duration::from_millis(1))
        });
        Ok(Some((receiver.topic().clone(), invocation.encode()?)))
    }
}

impl Worker {
    /// Passes the answer of a call on that nobody waits for, and finishes the message if that went well.
    pub(super) async fn forward(&self, mut delivery: Delivery, forward: Box<Forward>, answer: Answer) {
        let (procedure, call) = (&self.served.uri, forward.id);
        if let Err(error) = &answer
            && forward.errors_to.is_none()
        {
            self.served.meter.unheard.increment();
            telemetry::unanswered(procedure, "unheard");
            tracing::warn!(%procedure, %call, %error, "a call failed, and nobody is told: its caller wanted no answer");
        }
        match forward.message(procedure, &answer) {
            Ok(None) => return finish(delivery),
            Ok(Some((topic, body))) => match delivery.publish_and_finish(&topic, body) {
                Ok(()) => return,
                Err(unanswered) => delivery = *unanswered,
            },
            Err(_) => {}
        }
        match Box::pin(self.pass_on(&forward, answer, &delivery.node)).await {
            Ok(()) => finish(delivery),
            Err(error) => {
                tracing::warn!(%procedure, %call, %error, "could not pass the answer of a call on: it will be run again");
            }
        }
    }

    /// Publishes what passes the answer on. A value that cannot be (too large, refused) is replaced by an error that says so.
    async fn pass_on(&self, forward: &Forward, answer: Answer, node: &Arc<str>) -> Result<(), PublishError> {
        let (procedure, call) = (&self.served.uri, forward.id);
        let reason = match self.publish(forward, &answer, node).await {
            Ok(done) => return done,
            Err(reason) => reason,
        };
        tracing::warn!(%procedure, %call, reason, "the answer of a call could not be passed on");
        if answer.is_err() {
            return Ok(());
        }
        let instead = Err(RemoteError::sentence(forward.codec, INVALID_RETURN, &reason));
        match self.publish(forward, &instead, node).await {
            Ok(done) => done,
            // Nobody can be told.
            Err(_) => Ok(()),
        }
    }

    /// Publishes what passes `answer` on; the outer error is why that will never be possible.
    async fn publish(
        &self,
        forward: &Forward,
        answer: &Answer,
        node: &Arc<str>,
    ) -> Result<Result<(), PublishError>, String> {
        let message = forward.message(&self.served.uri, answer);
        let Some((topic, body)) = message.map_err(|error| error.to_string())? else {
            return Ok(Ok(()));
        };
        // Whoever is called has to expect to be called twice anyway.
        let publication = Publication::new(topic, body)
            .through(Arc::clone(node))
            .allow_duplicates();
        match self.session.transport().publish(publication).await {
            Err(error) if matches!(error, PublishError::TooLarge { .. }) || error.is_refused() => {
                Err(error.to_string())
            }
            other => Ok(other),
        }
    }
}

fn finish(delivery: Delivery) {
    if let Err(error) = delivery.finish() {
        tracing::debug!(%error, "a call may be run again");
    }
}

/// Reads a message on the topic of a procedure: a call of it, or the reply to a call whose caller has named this procedure to
/// a service that knows only replies, as those of the Python package.
pub(super) fn read(body: &Bytes) -> Result<Invocation, EnvelopeError> {
    Invocation::decode(body).or_else(|error| match Reply::decode(body) {
        Ok(Reply {
            call_id,
            outcome: Ok(payload),
            ..
        }) => {
            let nobody = Id::from_bytes([0; 16]);
            let mut invocation = Invocation::new(nobody, payload);
            invocation.id = call_id;
            Ok(invocation)
        }
        Ok(Reply {
            call_id,
            outcome: Err(raised),
            ..
        }) => {
            tracing::warn!(call = %call_id, error = %raised, "a call failed whose answer was to come here");
            Err(error)
        }
        Err(_) => Err(error),
    })
}
