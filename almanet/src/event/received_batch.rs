//! Events that are taken together.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::{
    consumer::Consumer,
    received::{Received, Undecodable},
};
use crate::transport::AnswerError;

impl<T: DeserializeOwned> Consumer<T> {
    /// The next events together: as many as `size`, or those that came within `longest` of the first. `None` once the
    /// session has been left.
    ///
    /// No more than [`max_in_flight`](super::Consume::max_in_flight) events come before any is answered: a larger `size`
    /// is only reached by time. Choose `longest` well below the message timeout.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn insert(rows: &[&u64]) -> bool { true }
    /// # async fn example(mut numbers: almanet::Consumer<u64>) -> Result<(), Box<dyn std::error::Error>> {
    /// while let Some(batch) = numbers.recv_batch(100, Duration::from_secs(1)).await {
    ///     let rows: Vec<&u64> = batch.values().collect();
    ///     match insert(&rows).await {
    ///         true => batch.ack()?,
    ///         false => batch.nack(Duration::from_secs(10))?,
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, what it had gathered is delivered again.
    pub async fn recv_batch(&mut self, size: usize, longest: Duration) -> Option<ReceivedBatch<T>> {
        let mut batch = ReceivedBatch {
            events: Vec::new(),
            undecodable: Vec::new(),
        };
        let first = self.recv().await?;
        batch.add(first);
        let ends_at = Instant::now() + longest;
        while batch.events.len() + batch.undecodable.len() < size {
            // Once the session is left, what has been gathered is still to be answered.
            match timeout_at(ends_at, self.recv()).await {
                Ok(Some(event)) => batch.add(event),
                Ok(None) | Err(_) => break,
            }
        }
        Some(batch)
    }
}

/// Events that are answered together. What is dropped unanswered is delivered again at once.
#[derive(Debug)]
#[must_use = "events that are dropped unanswered are delivered again"]
pub struct ReceivedBatch<T> {
    /// The events.
    pub events: Vec<Received<T>>,
    /// Messages among them that are no events of the type. [`ack`](Self::ack) leaves them unanswered: take them out to
    /// discard them or to [put them aside](Consumer::dead_letter_undecodable).
    pub undecodable: Vec<Undecodable>,
}

impl<T> ReceivedBatch<T> {
    fn add(&mut self, event: Result<Received<T>, Undecodable>) {
        match event {
            Ok(event) => self.events.push(event),
            Err(message) => self.undecodable.push(message),
        }
    }

    /// The values of the events.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.events.iter().map(|event| &**event)
    }

    /// All events are dealt with.
    ///
    /// # Errors
    ///
    /// The first [`AnswerError`]; all others have been answered all the same. What was not will be delivered again.
    pub fn ack(self) -> Result<(), AnswerError> {
        all(self.events.into_iter().map(Received::ack))
    }

    /// All events shall be delivered again, after `delay`.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn nack(self, delay: Duration) -> Result<(), AnswerError> {
        all(self.events.into_iter().map(|event| event.nack(delay)))
    }

    /// All events need more time.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn touch(&self) -> Result<(), AnswerError> {
        all(self.events.iter().map(Received::touch))
    }
}

/// Does all of it, and tells the first thing that went wrong.
fn all(answers: impl Iterator<Item = Result<(), AnswerError>>) -> Result<(), AnswerError> {
    answers.fold(Ok(()), Result::and)
}
