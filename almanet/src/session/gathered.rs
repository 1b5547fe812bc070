//! The answers to one message, as they come, until there will be no more.

use std::{
    collections::HashSet,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::gather::Gatherings;
use crate::{id::Id, wire::Reply};

/// For how long answers are collected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Until {
    pub(crate) deadline: Option<Instant>,
    /// How long no answer may come after one has.
    pub(crate) quiet: Option<Duration>,
    /// The most answers.
    pub(crate) count: Option<usize>,
    pub(crate) cancelled: Option<CancellationToken>,
}

/// Why no more answers are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MulticallEnd {
    /// As many have come as were asked for.
    Count,
    /// None has come for as long as that may be.
    Quiet,
    /// The time is up.
    Timeout,
    /// The call that it was made for has ended.
    Cancelled,
    /// The session has been left.
    SessionLeft,
}

/// The answers to one message; given up on drop, and then those who work on one are told.
#[derive(Debug)]
pub(crate) struct Gathered {
    id: Id,
    gatherings: Arc<Gatherings>,
    receiver: mpsc::Receiver<Reply>,
    /// Who has answered, of those who say who they are.
    responders: HashSet<Id>,
    taken: usize,
    quiet_at: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    deadline: Option<Instant>,
    quiet: Option<Duration>,
    count: Option<usize>,
    ended: Option<MulticallEnd>,
}

impl Gathered {
    pub(super) fn new(
        id: Id,
        gatherings: Arc<Gatherings>,
        receiver: mpsc::Receiver<Reply>,
        until: Until,
    ) -> Self {
        let cancelled = until.cancelled;
        Self {
            id,
            gatherings,
            receiver,
            responders: HashSet::new(),
            taken: 0,
            quiet_at: None,
            sleep: None,
            cancelled: cancelled.map(|cancelled| Box::pin(cancelled.cancelled_owned())),
            deadline: until.deadline,
            quiet: until.quiet,
            count: until.count,
            ended: None,
        }
    }

    /// The next answer; `None` when there will be no more. One that is delivered twice is given once, if it says whose it
    /// is.
    pub(crate) async fn next(&mut self) -> Option<Reply> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next).
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        if self.ended.is_some() {
            return Poll::Ready(None);
        }
        while let Poll::Ready(received) = self.receiver.poll_recv(cx) {
            let Some(reply) = received else {
                return self.end(MulticallEnd::SessionLeft);
            };
            if reply
                .responder
                .is_some_and(|responder| !self.responders.insert(responder))
            {
                continue;
            }
            self.taken += 1;
            self.quiet_at = self.quiet.and_then(|quiet| Instant::now().checked_add(quiet));
            if self.count.is_some_and(|count| count <= self.taken) {
                let _ = self.end(MulticallEnd::Count);
            }
            return Poll::Ready(Some(reply));
        }
        if let Some(cancelled) = &mut self.cancelled
            && cancelled.as_mut().poll(cx).is_ready()
        {
            return self.end(MulticallEnd::Cancelled);
        }
        let Some(until) = [self.deadline, self.quiet_at].into_iter().flatten().min() else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        ready!(sleep.as_mut().poll(cx));
        let is_late = self.deadline.is_some_and(|deadline| deadline <= until);
        self.end(if is_late {
            MulticallEnd::Timeout
        } else {
            MulticallEnd::Quiet
        })
    }

    /// Why there will be no more answers; `None` while there may be.
    pub(crate) fn ended(&self) -> Option<MulticallEnd> {
        self.ended
    }

    fn end(&mut self, why: MulticallEnd) -> Poll<Option<Reply>> {
        self.ended = Some(why);
        // Those who are still at work when the time is up know it themselves.
        self.gatherings.end(self.id, why != MulticallEnd::Timeout);
        Poll::Ready(None)
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.end(MulticallEnd::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Codec, Payload};

    fn reply(id: Id) -> Reply {
        Reply::new(id, Ok(Payload::encode(Codec::Json, &1).unwrap()))
    }

    fn enter(gatherings: &Arc<Gatherings>, id: Id, until: Until) -> Option<Gathered> {
        gatherings.enter(id, Id::random(), None, until)
    }

    #[tokio::test]
    async fn a_responder_is_heard_once() {
        let gatherings = Arc::new(Gatherings::default());
        let (id, responders) = (Id::random(), [Id::random(), Id::random()]);
        let until = Until {
            count: Some(2),
            ..Until::default()
        };
        let mut gathered = enter(&gatherings, id, until).unwrap();
        for responder in [responders[0], responders[0], responders[1]] {
            let answer = Reply {
                responder: Some(responder),
                ..reply(id)
            };
            gatherings.take(answer);
        }
        for responder in responders {
            assert_eq!(gathered.next().await.unwrap().responder, Some(responder));
        }
        assert_eq!(gathered.ended(), Some(MulticallEnd::Count));
        assert!(gathered.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_after_an_answer_and_the_deadline_before() {
        let gatherings = Arc::new(Gatherings::default());
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        let until = Until {
            deadline: Some(begun + 10 * second),
            quiet: Some(second),
            ..Until::default()
        };

        let id = Id::random();
        let mut silent = enter(&gatherings, id, until.clone()).unwrap();
        assert!(silent.next().await.is_none());
        assert_eq!(silent.ended(), Some(MulticallEnd::Timeout));
        assert_eq!(begun.elapsed(), 10 * second);

        let until = Until {
            deadline: Some(Instant::now() + 10 * second),
            ..until
        };
        let mut answered = enter(&gatherings, id, until).unwrap();
        for _ in 0..2 {
            tokio::time::advance(second / 2).await;
            gatherings.take(reply(id));
            assert!(answered.next().await.is_some());
        }
        assert!(answered.next().await.is_none());
        assert_eq!(answered.ended(), Some(MulticallEnd::Quiet));
        assert_eq!(begun.elapsed(), 12 * second);
    }
}
