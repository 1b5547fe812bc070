//! The way back for the answer to a message.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use almanet::transport::{Acknowledge, AnswerError, MessageId, TopicName};
use bytes::Bytes;
use tokio::sync::mpsc;

/// What was said to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Finish,
    Requeue(Duration),
    Touch,
}

/// Answers to the task that holds tokio-nsq's message, because answering is asynchronous there.
pub(crate) struct Answerer {
    pub(crate) id: MessageId,
    pub(crate) node: Arc<str>,
    /// Without bound, since each message gets one answer and RDY bounds the messages.
    pub(crate) answers: mpsc::UnboundedSender<(MessageId, Answer)>,
    /// The number of the connection that brought the message, and that of the present one.
    pub(crate) connection: u64,
    pub(crate) present: Arc<AtomicU64>,
    pub(crate) is_answered: bool,
}

impl Answerer {
    fn send(&self, answer: Answer) -> Result<(), AnswerError> {
        let is_present = self.present.load(Ordering::Acquire) == self.connection;
        if is_present && self.answers.send((self.id, answer)).is_ok() {
            return Ok(());
        }
        Err(AnswerError::ConnectionLost {
            node: Arc::clone(&self.node),
            id: self.id,
        })
    }
}

impl Acknowledge for Answerer {
    fn finish(mut self: Box<Self>) -> Result<(), AnswerError> {
        self.is_answered = true;
        self.send(Answer::Finish)
    }

    fn publish_and_finish(self: Box<Self>, _: &TopicName, _: Bytes) -> Result<(), Box<dyn Acknowledge>> {
        Err(self)
    }

    fn requeue(mut self: Box<Self>, delay: Duration) -> Result<(), AnswerError> {
        self.is_answered = true;
        self.send(Answer::Requeue(delay))
    }

    fn touch(&self) -> Result<(), AnswerError> {
        self.send(Answer::Touch)
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        if !self.is_answered {
            // On a connection that is gone there is nothing to give back: the broker delivers the message again.
            let _ = self.send(Answer::Requeue(Duration::ZERO));
        }
    }
}
