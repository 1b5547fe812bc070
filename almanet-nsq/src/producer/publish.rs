//! One publish, and whom its outcome is for.

use std::sync::Arc;

use almanet_nsq_proto::{Command, ProtocolError};
use tokio::{sync::oneshot, time::Instant};

use super::{alarm::Alarm, content::Content};

/// One publish, wherever it is.
#[derive(Debug)]
pub(super) struct Publish {
    /// Counts up in the order in which publishes were queued.
    pub(super) ticket: u64,
    pub(super) command: Command,
    /// The bytes of its messages.
    pub(super) size: usize,
    pub(super) deadline: Instant,
    /// Whether it was refused together with others, and now travels by itself.
    pub(super) is_alone: bool,
    pub(super) answer: Answer,
    /// The room that it takes, which whoever takes it out of the outbox [gives back](super::outbox::Outbox::settle).
    pub(super) room: usize,
}

/// Whom the outcome of a publish is for.
#[derive(Debug)]
pub(super) enum Answer {
    /// Who waits for it, and has what was published.
    Waits(oneshot::Sender<Outcome>),
    /// Who waits for it, and has not.
    Settles(oneshot::Sender<Outcome>),
    /// Who does not wait for it.
    Posted(Alarm),
}

impl Answer {
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Waits(sender) | Self::Settles(sender) => sender.is_closed(),
            // Nobody knows, and what is posted once too often is not waited for.
            Self::Posted(_) => false,
        }
    }
}

impl Publish {
    /// Tells the publisher, who may have gone away.
    pub(super) fn settle(self, outcome: Result<(), Failure>) {
        let Self {
            command,
            size,
            deadline,
            answer,
            ..
        } = self;
        let failed = |failure| {
            Box::new(Failed {
                failure,
                content: Some((Content { command, size }, deadline)),
            })
        };
        let _ = match (answer, outcome) {
            (Answer::Waits(sender), outcome) => sender.send(outcome.map_err(Failure::alone)),
            (Answer::Settles(sender), outcome) => sender.send(outcome.map_err(failed)),
            (Answer::Posted(alarm), Ok(())) => {
                alarm.defuse();
                return;
            }
            (Answer::Posted(alarm), Err(failure)) => {
                alarm.ring(failed(failure));
                return;
            }
        };
    }
}

/// Why a publish failed.
#[derive(Debug)]
pub(super) enum Failure {
    Refused(ProtocolError),
    Unconfirmed(Arc<str>),
    NotSent,
    /// The producer takes nothing any more.
    Closed,
}

/// What a publisher gets that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// What it published, and until when that was to be done, where it has kept nothing.
    pub(super) content: Option<(Content, Instant)>,
}

/// What has become of a publish.
pub(super) type Outcome = Result<(), Box<Failed>>;

impl Failure {
    /// Of a publisher that has kept what it published, or of which nobody knows that.
    pub(super) fn alone(self) -> Box<Failed> {
        Box::new(Failed {
            failure: self,
            content: None,
        })
    }
}
