//! Events that are published together, and acknowledged with them.

use almanet_nsq::TopicName;
use bytes::Bytes;
use serde::Serialize;

use super::{
    Event,
    incoming::{Incoming, answered},
    outgoing::Outgoing,
    received::Received,
    received_batch::ReceivedBatch,
};
use crate::{
    error::{CommitError, ProduceError},
    session::Session,
    telemetry::{Answered, EmitSpan, carry_trace},
    transport::Publication,
    wire::Headers,
};

impl Session {
    /// An empty batch: events to publish and events to acknowledge, together. See [`Batch`].
    pub fn batch(&self) -> Batch {
        Batch {
            session: self.clone(),
            outgoing: Vec::new(),
            acknowledged: Vec::new(),
        }
    }
}

/// Events that are published together, and events that are acknowledged once those are confirmed.
///
/// **What it guarantees**: nothing is acknowledged before a broker has confirmed all that the batch publishes. The
/// messages for one topic are published all or none, in one command. So a program that reads an event and publishes others
/// for it loses none of them, wherever it is cut off.
///
/// **What it cannot guarantee**, as NSQ has no transactions: that nothing is published twice. When a later topic is
/// refused, what was published to the earlier ones stays, and what the batch read is delivered again; so it is when the
/// program or a connection dies between the confirmation and the acknowledgement. Consumers of what it publishes have to
/// expect duplicates, as always.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
/// let mut orders = session.consume_topic::<u64>("net.example.orders", "billing").await?;
/// while let Some(order) = orders.recv().await {
///     let order = order?;
///     let mut batch = session.batch();
///     batch.produce("net.example.invoices", &*order)?;
///     batch.produce("net.example.mails", &format!("order {} is billed", *order))?;
///     batch.ack(order);
///     batch.commit().await?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// Dropped, it is aborted.
#[derive(Debug)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    session: Session,
    /// In the order in which the topics were first named.
    outgoing: Vec<(TopicName, Vec<Bytes>)>,
    acknowledged: Vec<Incoming>,
}

impl Batch {
    /// Adds an event to publish to its topic.
    ///
    /// # Errors
    ///
    /// [`ProduceError::Encode`] and [`ProduceError::InvalidTopic`]; the batch is as it was.
    pub fn emit<E: Event>(&mut self, event: &E) -> Result<(), ProduceError> {
        self.add(TopicName::new(E::TOPIC)?, Some(E::VERSION), event)
    }

    /// Adds a message to publish to `topic`.
    ///
    /// # Errors
    ///
    /// [`ProduceError::Encode`] and [`ProduceError::InvalidTopic`]; the batch is as it was.
    pub fn produce(
        &mut self,
        topic: impl AsRef<str>,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<(), ProduceError> {
        self.add(TopicName::new(topic)?, None, payload)
    }

    fn add(
        &mut self,
        topic: TopicName,
        version: Option<u32>,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<(), ProduceError> {
        let mut headers = Headers::new();
        if self.session.event_traces() {
            carry_trace(&mut headers);
        }
        let body = Outgoing::new(self.session.codec(), headers, version).body(payload)?;
        match self.outgoing.iter_mut().find(|(other, _)| *other == topic) {
            Some((_, bodies)) => bodies.push(body),
            None => self.outgoing.push((topic, vec![body])),
        }
        Ok(())
    }

    /// Adds an event to acknowledge.
    pub fn ack<T>(&mut self, event: Received<T>) {
        self.acknowledged.push(event.into_incoming());
    }

    /// Adds events to acknowledge.
    pub fn ack_all<T>(&mut self, events: ReceivedBatch<T>) {
        let events = events.events.into_iter();
        self.acknowledged.extend(events.map(Received::into_incoming));
    }

    /// Publishes, topic by topic, and then acknowledges.
    ///
    /// An acknowledgement whose connection is gone by then is no error, since everything is published: that event is
    /// delivered again.
    ///
    /// # Errors
    ///
    /// [`CommitError`] names the topic that was refused. Nothing is acknowledged then: all events of the batch are
    /// delivered again at once.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, nothing is acknowledged, and some of the messages may have been published.
    pub async fn commit(self) -> Result<(), CommitError> {
        for (published, (topic, bodies)) in self.outgoing.into_iter().enumerate() {
            let publication = Publication::several(topic.clone(), bodies).allow_duplicates();
            // What is in the batch has been written: it carries the trace that it was added in.
            let span = EmitSpan::open(&topic, false, &mut Headers::new());
            let outcome = self.session.publish_in(span, publication).await;
            if let Err(source) = outcome {
                return Err(CommitError {
                    topic,
                    published,
                    source,
                });
            }
        }
        for event in self.acknowledged {
            answered(event.finish(Answered::Ok));
        }
        Ok(())
    }

    /// Publishes nothing and acknowledges nothing: the events of the batch are delivered again at once.
    pub fn abort(self) {}
}
