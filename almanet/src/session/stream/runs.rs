//! The streams that a session sends, and what their callers let them send.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch, time::Instant};

use crate::{id::Id, session::shared::Session, wire::StreamCredit};

/// The streams that are being sent, by the run of the procedure.
#[derive(Debug, Default)]
pub(super) struct StreamRuns {
    runs: Mutex<HashMap<Id, Sent>>,
}

#[derive(Debug)]
struct Sent {
    caller: Id,
    granted: Arc<watch::Sender<Granted>>,
}

/// What the caller has said so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Granted {
    /// How many items may be sent in all.
    pub(crate) up_to: u64,
    /// Whether nobody reads the run.
    pub(crate) unread: bool,
    /// When the caller was last heard of.
    pub(crate) heard: Instant,
}

impl StreamRuns {
    /// Takes in what a caller says, if the run is its own. Credit is a total, so it does no harm if it comes late or twice.
    pub(super) fn heed(&self, credit: StreamCredit) {
        let granted = match self.lock().get(&credit.run) {
            Some(sent) if sent.caller == credit.session_id => Arc::clone(&sent.granted),
            _ => return,
        };
        granted.send_modify(|granted| {
            granted.heard = Instant::now();
            match credit.up_to {
                Some(up_to) => granted.up_to = granted.up_to.max(up_to),
                None => granted.unread = true,
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Sent>> {
        // Nothing panics while it holds the lock, so the map is whole even if the lock says poisoned.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Enters a stream that this session is about to send to `caller`, `up_to` items of it for a start.
    pub(crate) fn enter_stream_run(&self, caller: Id, up_to: u64) -> StreamRun {
        let id = Id::random();
        let granted = Arc::new(watch::Sender::new(Granted {
            up_to,
            unread: false,
            heard: Instant::now(),
        }));
        let runs = Arc::clone(&self.shared.streams.runs);
        let sent = Sent {
            caller,
            granted: Arc::clone(&granted),
        };
        runs.lock().insert(id, sent);
        StreamRun { id, granted, runs }
    }
}

/// A run's place among the streams that are sent; given up on drop.
#[derive(Debug)]
pub(crate) struct StreamRun {
    pub(crate) id: Id,
    pub(crate) granted: Arc<watch::Sender<Granted>>,
    runs: Arc<StreamRuns>,
}

impl Drop for StreamRun {
    fn drop(&mut self) {
        self.runs.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_caller_grants_and_only_more() {
        let runs = Arc::new(StreamRuns::default());
        let (run, caller) = (Id::random(), Id::random());
        let granted = Arc::new(watch::Sender::new(Granted {
            up_to: 4,
            unread: false,
            heard: Instant::now(),
        }));
        let sent = Sent {
            caller,
            granted: Arc::clone(&granted),
        };
        runs.lock().insert(run, sent);
        let credit = |session, up_to| StreamCredit::new(Id::random(), session, run, up_to);
        runs.heed(credit(Id::random(), Some(100)));
        runs.heed(credit(Id::random(), None));
        assert!(granted.borrow().up_to == 4 && !granted.borrow().unread);
        runs.heed(credit(caller, Some(8)));
        runs.heed(credit(caller, Some(6)));
        assert_eq!(granted.borrow().up_to, 8, "an older word came late");
        runs.heed(credit(caller, None));
        assert!(granted.borrow().unread);
    }
}
