//! What an operator does to a channel: pause it, empty it, delete it.

use std::time::Instant;

use almanet_nsq_proto::Message;

use super::{Channel, Outlet};

impl<O: Outlet> Channel<O> {
    /// Ends deliveries until [`unpause`](Self::unpause). What is in flight may still be answered and times out.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Goes on delivering.
    pub(crate) fn unpause(&mut self, now: Instant, touched: &mut O::Touched) {
        self.paused = false;
        self.dispatch(now, touched);
    }

    /// Forgets all messages: those that wait, those that are deferred and those in flight, as nsqd does.
    ///
    /// Answers to those that were in flight are refused from then on.
    pub(crate) fn empty(&mut self) {
        self.queue.take_all();
        drop(self.deferred.take_all());
        self.in_flight.clear();
        let ids: Vec<_> = self.subscribers.keys().copied().collect();
        for id in ids {
            if let Some(subscriber) = self.subscribers.get_mut(&id) {
                subscriber.emptied();
            }
            self.list(id);
        }
    }

    /// Takes out what waits, in order, each message with the time when it becomes due.
    pub(crate) fn take_waiting(&mut self) -> Vec<(Message, Option<Instant>)> {
        let queued = self.queue.take_all();
        let deferred = self
            .deferred
            .take_all()
            .map(|(message, due)| (message, Some(due)));
        queued
            .into_iter()
            .map(|message| (message, None))
            .chain(deferred)
            .collect()
    }

    /// Ends the connections of all subscribers, as nsqd does when a channel is deleted.
    pub(crate) fn end_subscribers(&mut self) {
        for subscriber in self.subscribers.values_mut() {
            subscriber.end();
        }
    }
}
