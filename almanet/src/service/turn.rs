//! Whose turn it is: calls that run, that wait for one of those to end, and that are too many.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    runner::Runner,
    transport::{Delivery, Subscription},
};

/// How many calls may be received beyond those that run and wait, to be refused.
const REFUSALS: usize = 64;

/// The room for the calls of one procedure.
#[derive(Debug)]
pub(super) struct Room {
    concurrency: usize,
    /// `None` where calls wait in the broker.
    queue: Option<Queue>,
    longest_wait: Option<Duration>,
}

#[derive(Debug)]
struct Queue {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// What is to be done with a call that has come.
pub(super) enum Turn {
    /// Where calls wait in the broker, one that comes has found room, and what runs it counts.
    Runs(Option<OwnedSemaphorePermit>),
    /// It has a place among those that wait.
    Waits(OwnedSemaphorePermit),
    TooMany,
}

impl Room {
    pub(super) fn new(concurrency: usize, queue: Option<usize>, longest_wait: Option<Duration>) -> Self {
        let places = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self {
            concurrency,
            queue: queue.map(|queue| Queue {
                running: places(concurrency),
                waiting: places(queue),
            }),
            longest_wait,
        }
    }

    /// What runs the calls.
    pub(super) fn runner(&self) -> Runner {
        match self.queue {
            Some(_) => Runner::unlimited(),
            None => Runner::limited(self.concurrency),
        }
    }

    /// How many messages the broker may have out.
    pub(super) fn max_in_flight(concurrency: usize, queue: Option<usize>) -> usize {
        match queue {
            Some(queue) => concurrency.saturating_add(queue).saturating_add(REFUSALS),
            None => concurrency,
        }
    }

    /// The next call, when there is something to be done with it; `None` when the subscription has ended.
    pub(super) async fn next(
        &self,
        runner: &Runner,
        subscription: &mut Subscription,
    ) -> Option<(Delivery, Turn)> {
        runner.room().await;
        let delivery = subscription.recv().await?;
        let turn = match &self.queue {
            None => Turn::Runs(None),
            Some(Queue { running, waiting }) => match Arc::clone(running).try_acquire_owned() {
                Ok(permit) => Turn::Runs(Some(permit)),
                Err(_) => Arc::clone(waiting)
                    .try_acquire_owned()
                    .map_or(Turn::TooMany, Turn::Waits),
            },
        };
        Some((delivery, turn))
    }

    /// When a running call has ended and this one may run; `None` when nothing runs any more.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let running = &self.queue.as_ref()?.running;
        Arc::clone(running).acquire_owned().await.ok()
    }

    /// How long a call may wait in this instance.
    pub(super) fn longest_wait(&self) -> Option<Duration> {
        self.longest_wait
    }
}
