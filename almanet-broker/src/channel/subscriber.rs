//! One subscriber of a channel, and the way messages take to it.

use std::time::Duration;

use almanet_nsq_proto::Frame;

use super::SubscriberReport;

/// The name of a subscriber: the number of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubscriberId(pub(crate) u64);

/// What became of an offered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is on its way.
    Taken,
    /// The subscriber's sampling leaves it out; nobody gets it, as in nsqd.
    Skipped,
    /// The subscriber does not read fast enough. The outlet says when it has room again
    /// ([`Channel::resume`](super::Channel::resume)).
    Full,
}

/// Where a subscriber's messages go.
pub(crate) trait Outlet {
    /// Notes of what was sent to, for the one who drives the channel.
    type Touched;

    /// Offers a message frame.
    fn offer(&mut self, frame: &Frame, touched: &mut Self::Touched) -> Offer;

    /// Ends the subscriber's connection: its channel is deleted.
    fn end(&mut self);
}

/// One subscriber: what it asked for and how much of it it has.
#[derive(Debug)]
pub(crate) struct Subscriber<O> {
    outlet: O,
    message_timeout: Duration,
    ready: u64,
    in_flight: u64,
    delivered: u64,
    finished: u64,
    requeued: u64,
    closing: bool,
    listed: bool,
}

impl<O: Outlet> Subscriber<O> {
    /// A subscriber that has `message_timeout` to answer each message.
    pub(crate) fn new(outlet: O, message_timeout: Duration) -> Self {
        Self {
            outlet,
            message_timeout,
            ready: 0,
            in_flight: 0,
            delivered: 0,
            finished: 0,
            requeued: 0,
            closing: false,
            listed: false,
        }
    }

    pub(super) fn message_timeout(&self) -> Duration {
        self.message_timeout
    }

    pub(super) fn is_listed(&self) -> bool {
        self.listed
    }

    pub(super) fn set_ready(&mut self, count: u64) {
        self.ready = count;
    }

    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    pub(super) fn finished(&mut self) {
        self.finished += 1;
        self.timed_out();
    }

    pub(super) fn requeued(&mut self) {
        self.requeued += 1;
        self.timed_out();
    }

    pub(super) fn timed_out(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Nothing that it was sent counts as in flight any more.
    pub(super) fn emptied(&mut self) {
        self.in_flight = 0;
    }

    /// Ends its connection.
    pub(super) fn end(&mut self) {
        self.outlet.end();
    }

    pub(super) fn report(&self, id: SubscriberId) -> SubscriberReport {
        SubscriberReport {
            id,
            ready: self.ready,
            in_flight: self.in_flight,
            delivered: self.delivered,
            finished: self.finished,
            requeued: self.requeued,
            is_closing: self.closing,
        }
    }

    /// Whether it has to be put into the rotation now: it wants messages and is not in there.
    pub(super) fn list(&mut self) -> bool {
        let joins = !self.listed && self.wants_message();
        self.listed |= joins;
        joins
    }

    /// Leaves the rotation; says whether it wants the message whose turn it is.
    pub(super) fn take_turn(&mut self) -> bool {
        self.listed = false;
        self.wants_message()
    }

    pub(super) fn offer(&mut self, frame: &Frame, touched: &mut O::Touched) -> Offer {
        let offer = self.outlet.offer(frame, touched);
        if offer == Offer::Taken {
            self.in_flight += 1;
            self.delivered += 1;
        }
        offer
    }

    fn wants_message(&self) -> bool {
        !self.closing && self.in_flight < self.ready
    }
}
