//! The nodes whose connections were lost, for those whom it concerns what can no longer come.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Nodes whose connections ended, each once until it was told: there are never more of them than nodes.
#[derive(Debug, Default)]
pub(super) struct LostNodes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    untold: VecDeque<Arc<str>>,
    waker: Option<Waker>,
}

impl LostNodes {
    /// Notes that the connection to `node` has ended.
    pub(super) fn note(&self, node: &Arc<str>) {
        let mut state = self.state();
        if !state.untold.contains(node) {
            state.untold.push_back(Arc::clone(node));
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next node that was lost.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Arc<str>> {
        let mut state = self.state();
        match state.untold.pop_front() {
            Some(node) => Poll::Ready(node),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_node_is_told_once_for_each_time_it_is_lost() {
        let lost = Arc::new(LostNodes::default());
        let (first, second) = (Arc::from("a:1"), Arc::from("b:2"));
        lost.note(&first);
        lost.note(&second);
        lost.note(&first);
        assert_eq!(poll_fn(|cx| lost.poll_next(cx)).await, first);
        assert_eq!(poll_fn(|cx| lost.poll_next(cx)).await, second);

        let waiting = tokio::spawn({
            let lost = Arc::clone(&lost);
            async move { poll_fn(|cx| lost.poll_next(cx)).await }
        });
        tokio::task::yield_now().await;
        lost.note(&first);
        assert_eq!(waiting.await.unwrap(), first);
    }
}
