//! What has arrived and was not handed out yet.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::{sync::mpsc, time::Instant};

use super::delivery::Delivery;

/// Deliveries that wait for the user, in the order of their arrival.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    /// What was looked through and left in place, and comes before what arrives.
    first: VecDeque<Delivery>,
    arriving: mpsc::Receiver<Delivery>,
}

impl Inbox {
    pub(super) fn new(arriving: mpsc::Receiver<Delivery>) -> Self {
        Self {
            queue: Mutex::new(Queue {
                first: VecDeque::new(),
                arriving,
            }),
        }
    }

    /// The next delivery that can still be worked on.
    pub(super) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        loop {
            let next = self.queue().poll_next(cx);
            let Some(delivery) = ready!(next) else {
                return Poll::Ready(None);
            };
            if let Some(delivery) = delivery.take(Instant::now()) {
                return Poll::Ready(Some(delivery));
            }
        }
    }

    /// The next delivery that can still be worked on, if one is there.
    pub(super) fn try_recv(&self) -> Option<Delivery> {
        loop {
            let delivery = self.queue().try_next()?;
            if let Some(delivery) = delivery.take(Instant::now()) {
                return Some(delivery);
            }
        }
    }

    /// Drops, and so requeues, all that is there; ready once nothing more can come.
    pub(super) fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let next = self.queue().poll_next(cx);
            if ready!(next).is_none() {
                return Poll::Ready(());
            }
        }
    }

    /// Drops, and so requeues, all that is there.
    pub(super) fn discard(&self) {
        loop {
            let next = self.queue().try_next();
            if next.is_none() {
                return;
            }
        }
    }

    /// Drops, and so requeues, what came on connections that were let go.
    pub(super) fn drop_unwanted(&self) {
        let mut queue = self.queue();
        let mut unwanted = Vec::new();
        let mut wanted = VecDeque::new();
        while let Some(delivery) = queue.try_next() {
            if delivery.is_wanted() {
                wanted.push_back(delivery);
            } else {
                unwanted.push(delivery);
            }
        }
        queue.first = wanted;
        drop(queue);
        drop(unwanted);
    }

    /// Nothing arrives any more, other than what is on its way into the queue.
    pub(super) fn close(&self) {
        self.queue().arriving.close();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        match self.first.pop_front() {
            Some(delivery) => Poll::Ready(Some(delivery)),
            None => self.arriving.poll_recv(cx),
        }
    }

    fn try_next(&mut self) -> Option<Delivery> {
        self.first.pop_front().or_else(|| self.arriving.try_recv().ok())
    }
}
