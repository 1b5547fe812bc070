//! A subscriber's outlet: its client's output, behind the sampling that it asked for.

use std::sync::Arc;

use almanet_nsq_proto::Frame;

use super::output::{Output, Touched};
use crate::channel::{Offer, Outlet};

/// Where a channel puts a client's messages.
#[derive(Debug)]
pub(crate) struct Inbox {
    output: Arc<Output>,
    sample_rate: u8,
}

impl Inbox {
    /// An inbox that takes `sample_rate` percent of the messages; all when that is 0.
    pub(super) fn new(output: Arc<Output>, sample_rate: u8) -> Self {
        Self { output, sample_rate }
    }
}

impl Outlet for Inbox {
    type Touched = Touched;

    fn offer(&mut self, frame: &Frame, touched: &mut Touched) -> Offer {
        // nsqd's rule: a number from 0 to 99 that is above the rate leaves the message out.
        if self.sample_rate > 0 && fastrand::u8(0..100) > self.sample_rate {
            return Offer::Skipped;
        }
        if self.output.offer(frame, touched) {
            Offer::Taken
        } else {
            Offer::Full
        }
    }

    fn end(&mut self) {
        self.output.end();
    }
}
