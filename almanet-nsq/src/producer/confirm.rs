//! What a producer's connection reads: the answers to its publishes.

use std::sync::Arc;

use almanet_nsq_proto::{ErrorCode, Frame, OK, ProtocolError};
use tracing::warn;

use super::{
    outbox::Outbox,
    publish::{Failure, Publish},
};
use crate::connection::{Incoming, Lost};

/// For how many confirmed publishes there is always room.
const KEPT_CAPACITY: usize = 1024;

/// Gives each answer to the publishes that it belongs to.
#[derive(Debug)]
pub(super) struct Confirmations {
    address: Arc<str>,
    outbox: Arc<Outbox>,
    // Kept for its memory; empty between calls.
    confirmed: Vec<Publish>,
}

impl Confirmations {
    pub(super) fn new(address: Arc<str>, outbox: Arc<Outbox>) -> Self {
        Self {
            address,
            outbox,
            confirmed: Vec::new(),
        }
    }

    /// Sorts the frames out. What was confirmed is in `self.confirmed` then, whatever the outcome.
    fn correlate(&mut self, frames: &mut Vec<Frame>) -> Result<(), Lost> {
        let mut pending = self.outbox.pending();
        for frame in frames.drain(..) {
            match frame {
                Frame::Response(text) if text == OK => {
                    pending.answer(&mut self.confirmed).map_err(|_| Lost::Unasked)?;
                }
                Frame::Error(error) if !error.is_fatal() => {
                    warn!(address = %self.address, %error, "the broker reports an error");
                }
                Frame::Error(error) => {
                    let mut refused = Vec::new();
                    // A broker that is not asked can refuse the connection as a whole.
                    let _ = pending.answer(&mut refused);
                    if refused.len() > 1 && concerns_one_message(&error) {
                        // The broker has taken none of them in, and the next connection brings the others through.
                        for mut publish in refused.drain(..) {
                            publish.is_alone = true;
                            pending.push(publish, u64::MAX);
                        }
                    }
                    drop(pending);
                    return Err(self.refuse(refused, error));
                }
                Frame::Response(_) | Frame::Message(_) => return Err(Lost::Unasked),
            }
        }
        Ok(())
    }

    fn refuse(&self, publishes: Vec<Publish>, error: ProtocolError) -> Lost {
        warn!(address = %self.address, %error, "the broker refused");
        self.outbox
            .settle(publishes, || Err(Failure::Refused(error.clone())));
        Lost::Refused(error)
    }
}

/// Whether the refusal of several messages can be due to one of them, or to their size in all.
///
/// nsqd says so when it reads an MPUB, before it takes in any of its messages (`readMPUB`).
fn concerns_one_message(error: &ProtocolError) -> bool {
    matches!(error.code, ErrorCode::BadMessage | ErrorCode::BadBody)
}

impl Incoming for Confirmations {
    async fn receive(&mut self, frames: &mut Vec<Frame>) -> Result<(), Lost> {
        let correlated = self.correlate(frames);
        self.outbox.settle(self.confirmed.drain(..), || Ok(()));
        // A burst of publishes shall not keep its memory for ever.
        self.confirmed.shrink_to(KEPT_CAPACITY);
        correlated
    }
}
