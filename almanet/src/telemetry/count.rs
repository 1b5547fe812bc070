//! Counters of what happens to messages, wherever they pass.
//!
//! Without the feature `metrics` they are nothing.

#[cfg(feature = "metrics")]
use almanet_nsq::TopicName;

use crate::{
    transport::{Publication, PublishError},
    uri::Uri,
};

/// Counts a call that came in and was given up without an answer.
#[cfg_attr(
    not(feature = "metrics"),
    allow(unused_variables, reason = "only metrics need them")
)]
pub(crate) fn unanswered(procedure: &Uri, reason: &'static str) {
    #[cfg(feature = "metrics")]
    {
        let procedure = procedure.as_str().to_owned();
        metrics::counter!("almanet_calls_unanswered_total", "procedure" => procedure, "reason" => reason)
            .increment(1);
    }
}

/// Shows how open the circuit of a procedure is: 0 is closed, 1 half open, 2 open.
#[cfg_attr(
    not(feature = "metrics"),
    allow(unused_variables, reason = "only metrics need them")
)]
pub(crate) fn circuit(procedure: &Uri, state: u8) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("almanet_circuit_state", "procedure" => procedure.as_str().to_owned())
        .set(f64::from(state));
}

/// Messages that are published, to be counted.
pub(crate) struct Produced {
    #[cfg(feature = "metrics")]
    topic: TopicName,
    #[cfg(feature = "metrics")]
    messages: usize,
}

impl Produced {
    #[cfg_attr(
        not(feature = "metrics"),
        allow(unused_variables, reason = "only metrics need it")
    )]
    pub(crate) fn by(publication: &Publication) -> Self {
        Self {
            #[cfg(feature = "metrics")]
            topic: publication.topic.clone(),
            #[cfg(feature = "metrics")]
            messages: publication.bodies.len(),
        }
    }

    /// Counts the messages.
    #[cfg_attr(
        not(feature = "metrics"),
        allow(unused_variables, reason = "only metrics need it")
    )]
    pub(crate) fn ended(self, outcome: &Result<(), PublishError>) {
        #[cfg(feature = "metrics")]
        {
            let outcome = match outcome {
                Ok(()) => "ok",
                Err(PublishError::Unconfirmed { .. }) => "unconfirmed",
                Err(_) => "failed",
            };
            let topic = self.topic.as_str().to_owned();
            metrics::counter!("almanet_produced_total", "topic" => topic, "outcome" => outcome)
                .increment(self.messages as u64);
        }
    }
}
