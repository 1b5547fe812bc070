//! Sends the answer of a procedure to its caller.

use std::{fmt::Display, sync::Arc};

use almanet_nsq::TopicName;
use bytes::Bytes;

use crate::{
    error::{INVALID_PAYLOAD, INVALID_RETURN, RemoteError},
    session::reply_topic,
    transport::{Publication, PublishError, Transport},
    wire::{EnvelopeError, Reply},
};

/// What a call is answered with that does not say properly where its answer goes, and where its session listens; `None`
/// where what came is no call at all.
pub(super) fn refusal(why: &EnvelopeError) -> Option<(TopicName, Reply)> {
    let EnvelopeError::ReplyTopic {
        call_id,
        caller_id,
        codec,
        source,
    } = why
    else {
        return None;
    };
    let topic = reply_topic(*caller_id).ok()?;
    let reason = format!("field `reply_topic`: {source}");
    let refusal = RemoteError::sentence(*codec, INVALID_PAYLOAD, &reason);
    Some((topic, Reply::new(*call_id, Err(refusal))))
}

/// Publishes the `reply` of `procedure` through `node`, which is where the caller listens; returns once it is confirmed.
///
/// An answer that cannot be sent as it is (too large, refused) is replaced by an error that says so.
///
/// # Errors
///
/// [`PublishError`] when no answer reached the broker: the call is to be run again.
pub(super) async fn send(
    transport: &dyn Transport,
    procedure: impl Display,
    topic: TopicName,
    node: Arc<str>,
    reply: Reply,
) -> Result<(), PublishError> {
    let (call_id, responder) = (reply.call_id, reply.responder);
    let codec = match &reply.outcome {
        Ok(payload) => payload.codec(),
        Err(error) => error.payload().codec(),
    };
    let reason = match reply.encode() {
        Ok(body) => match publish(transport, topic.clone(), Arc::clone(&node), body).await {
            Err(error) if matches!(error, PublishError::TooLarge { .. }) || error.is_refused() => {
                error.to_string()
            }
            other => return other,
        },
        Err(error) => error.to_string(),
    };
    tracing::warn!(%procedure, call = %call_id, reason, "an answer could not be sent as it is");
    let mut instead = Reply::new(
        call_id,
        Err(RemoteError::sentence(codec, INVALID_RETURN, &reason)),
    );
    instead.responder = responder;
    let Ok(body) = instead.encode() else { return Ok(()) };
    match publish(transport, topic, node, body).await {
        // The reply topic itself is refused: nobody can be told.
        Err(error) if error.is_refused() => Ok(()),
        other => other,
    }
}

/// Callers pass over a second reply to a call, so it may be published twice.
async fn publish(
    transport: &dyn Transport,
    topic: TopicName,
    node: Arc<str>,
    body: Bytes,
) -> Result<(), PublishError> {
    let publication = Publication::new(topic, body).through(node).allow_duplicates();
    transport.publish(publication).await
}
