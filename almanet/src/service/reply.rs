//! Sends the answer of a procedure to its caller.

use std::sync::Arc;

use almanet_nsq::TopicName;

use crate::{
    error::{INVALID_RETURN, RemoteError},
    transport::{Publication, PublishError, Transport},
    wire::{Codec, Reply},
};

/// Publishes `reply` through `node`, which is where the caller listens; returns once it is confirmed.
///
/// An answer that cannot be sent as it is (too large, refused) is replaced by an error that says so.
///
/// # Errors
///
/// [`PublishError`] when no answer reached the broker: the call is to be run again.
pub(super) async fn send(
    transport: &dyn Transport,
    topic: TopicName,
    node: Arc<str>,
    codec: Codec,
    reply: Reply,
) -> Result<(), PublishError> {
    let call_id = reply.call_id;
    let reason = match reply.encode() {
        Ok(body) => {
            let publication = Publication::new(topic.clone(), body).through(Arc::clone(&node));
            match transport.publish(publication).await {
                Err(error @ (PublishError::TooLarge { .. } | PublishError::Refused { .. })) => {
                    error.to_string()
                }
                other => return other,
            }
        }
        Err(error) => error.to_string(),
    };
    tracing::warn!(call = %call_id, reason, "an answer could not be sent as it is");
    let instead = Reply::new(
        call_id,
        Err(RemoteError::sentence(codec, INVALID_RETURN, &reason)),
    );
    let Ok(body) = instead.encode() else { return Ok(()) };
    match transport
        .publish(Publication::new(topic, body).through(node))
        .await
    {
        // The reply topic itself is refused: nobody can be told.
        Err(PublishError::Refused { .. }) => Ok(()),
        other => other,
    }
}
