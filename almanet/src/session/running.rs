//! The calls that this session runs and whose callers know it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::id::Id;

/// The runs of one session that their callers can cancel. Only those that take a while are here.
#[derive(Debug, Default)]
pub(crate) struct RunningCalls {
    runs: Mutex<Runs>,
}

#[derive(Debug, Default)]
struct Runs {
    /// A call that was delivered twice runs twice.
    by_call: HashMap<Id, Vec<Run>>,
    next: u64,
}

#[derive(Debug)]
struct Run {
    number: u64,
    caller: Id,
    cancelled: CancellationToken,
}

impl RunningCalls {
    /// Enters a run of the call `call_id`; `cancelled` fires when `caller` cancels it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        call_id: Id,
        caller: Id,
        cancelled: CancellationToken,
    ) -> RunningCall {
        let mut runs = self.runs();
        let number = runs.next;
        runs.next += 1;
        let run = Run {
            number,
            caller,
            cancelled,
        };
        runs.by_call.entry(call_id).or_default().push(run);
        RunningCall {
            call_id,
            number,
            calls: Arc::clone(self),
        }
    }

    /// Cancels the runs of the call, if it was `caller` who made it.
    pub(super) fn cancel(&self, call_id: Id, caller: Id) {
        let runs = self.runs();
        let of_the_call = runs.by_call.get(&call_id).into_iter().flatten();
        let cancelled: Vec<CancellationToken> = of_the_call
            .filter(|run| run.caller == caller)
            .map(|run| run.cancelled.clone())
            .collect();
        drop(runs);
        for token in cancelled {
            token.cancel();
        }
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run's place among those that can be cancelled; given up on drop.
#[derive(Debug)]
pub(crate) struct RunningCall {
    call_id: Id,
    number: u64,
    calls: Arc<RunningCalls>,
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        let mut runs = self.calls.runs();
        if let Some(of_the_call) = runs.by_call.get_mut(&self.call_id) {
            of_the_call.retain(|run| run.number != self.number);
            if of_the_call.is_empty() {
                runs.by_call.remove(&self.call_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_caller_cancels_and_every_run_of_the_call() {
        let calls = Arc::new(RunningCalls::default());
        let (call, caller, other) = (Id::random(), Id::random(), Id::random());
        let tokens = [CancellationToken::new(), CancellationToken::new()];
        let entered: Vec<_> = tokens
            .iter()
            .map(|token| calls.enter(call, caller, token.clone()))
            .collect();
        calls.cancel(call, other);
        calls.cancel(other, caller);
        assert!(tokens.iter().all(|token| !token.is_cancelled()));
        calls.cancel(call, caller);
        assert!(tokens.iter().all(CancellationToken::is_cancelled));
        drop(entered);
        assert!(calls.runs().by_call.is_empty());
    }

    #[test]
    fn a_run_that_ended_is_not_cancelled_by_its_number() {
        let calls = Arc::new(RunningCalls::default());
        let (call, caller) = (Id::random(), Id::random());
        let (first, second) = (CancellationToken::new(), CancellationToken::new());
        let ended = calls.enter(call, caller, first.clone());
        let _goes_on = calls.enter(call, caller, second.clone());
        drop(ended);
        calls.cancel(call, caller);
        assert!(!first.is_cancelled() && second.is_cancelled());
    }
}
