//! Ends a stream, and with it the call.

use super::{drive::confirm, outlet::Outlet};
use crate::{
    error::{INTERRUPTED, INVALID_RETURN, RemoteError},
    service::{
        dispatch::{Done, Worker},
        memory::Answer,
    },
    session::Session,
    transport::{Delivery, Publication, PublishError},
    wire::{StreamEnd, StreamItems},
};

impl Outlet {
    /// Sends what is left but for the last items, which leave with the end.
    pub(in crate::service) async fn finish(&self, session: &Session, answer: Answer) -> Done {
        let mut outcome = answer.map(drop);
        while !self.is_cut()
            && let Some(part) = self.part_before_the_end()
        {
            let published = self.publish(session, part).await;
            if let Err(error) = confirm(self, self.codec(), published) {
                outcome = Err(error);
            }
        }
        if self.is_cut() {
            return Done::Requeue;
        }
        Done::End(self.topic().clone(), Box::new(self.end(StreamEnd::new(outcome))))
    }

    /// What becomes of the stream when the service ends before it does. Where the caller has seen nothing, another
    /// instance may as well begin.
    pub(in crate::service) async fn cut_off(&self, session: &Session) -> Done {
        if !self.has_sent() {
            return Done::Requeue;
        }
        let reason = "its service was stopped";
        let error = RemoteError::sentence(self.codec(), INTERRUPTED, reason);
        self.finish(session, Err(error)).await
    }
}

impl Worker {
    /// Sends the end of a stream, and finishes the message if that went well.
    pub(in crate::service) async fn end_stream(
        &self,
        delivery: Delivery,
        topic: almanet_nsq::TopicName,
        mut end: StreamItems,
    ) {
        let codec = self.session.codec();
        let mut delivery = delivery;
        loop {
            let Ok(body) = end.encode() else { break };
            delivery = match delivery.publish_and_finish(&topic, body.clone()) {
                Ok(()) => return,
                Err(delivery) => *delivery,
            };
            let publication = Publication::new(topic.clone(), body)
                .through(std::sync::Arc::clone(&delivery.node))
                .allow_duplicates();
            match self.session.transport().publish(publication).await {
                Ok(()) => break,
                Err(error) if is_refused(&error) && !end.items.is_empty() => {
                    tracing::warn!(procedure = %self.served.uri, call = %end.call_id, %error, "the last items of a stream could not be sent");
                    end.items.clear();
                    end.end = Some(StreamEnd::new(Err(RemoteError::sentence(
                        codec,
                        INVALID_RETURN,
                        &error.to_string(),
                    ))));
                }
                // The reply topic itself, or an error that says too much: the caller will notice the silence.
                Err(error) if is_refused(&error) => break,
                Err(error) => {
                    tracing::warn!(procedure = %self.served.uri, call = %end.call_id, %error, "could not end a stream: the call will be run again");
                    return;
                }
            }
        }
        if let Err(error) = delivery.finish() {
            tracing::debug!(%error, "a call may be run again");
        }
    }
}

fn is_refused(error: &PublishError) -> bool {
    matches!(error, PublishError::TooLarge { .. }) || error.is_refused()
}
