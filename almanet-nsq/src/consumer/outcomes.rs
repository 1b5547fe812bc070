//! What the answers of all connections tell about how messages fare.

use std::{
    ops::RangeInclusive,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tracing::{info, warn};

use super::backoff::{Backoff, Fate, Phase};

/// Gathers fates, and says when something follows from them.
#[derive(Debug)]
pub(super) struct Outcomes {
    /// `None` where nothing ever follows.
    backoff: Option<Mutex<Backoff>>,
    /// Whether a success changes nothing, which is all that most messages need to know.
    is_open: AtomicBool,
    round: AtomicU32,
    /// Rings when the connections' shares should be looked at again.
    pub(super) news: Notify,
}

impl Outcomes {
    pub(super) fn new(pauses: Option<&RangeInclusive<Duration>>) -> Self {
        Self {
            backoff: pauses.map(|pauses| Mutex::new(Backoff::new(pauses))),
            is_open: AtomicBool::new(true),
            round: AtomicU32::new(0),
            news: Notify::new(),
        }
    }

    /// What messages that come now belong to, for [`answered`](Self::answered).
    pub(super) fn round(&self) -> u32 {
        self.round.load(Ordering::Acquire)
    }

    /// A message that came in `round` was answered.
    pub(super) fn answered(&self, round: u32, fate: Fate) {
        if fate != Fate::Failed && self.is_open.load(Ordering::Acquire) {
            return;
        }
        let Some(mut backoff) = self.backoff() else { return };
        let now = Instant::now();
        if !backoff.answered(now, round, fate, fastrand::f64()) {
            return;
        }
        let level = backoff.level();
        match backoff.phase() {
            Phase::Paused(until) => {
                let pause = until.duration_since(now);
                warn!(level, ?pause, "messages fail, backing off");
            }
            Phase::Open | Phase::Probing => info!("messages are finished again, no more backing off"),
        }
        self.publish(&backoff);
        drop(backoff);
        self.news.notify_one();
    }

    /// How much may be asked for at `now`.
    pub(super) fn phase(&self, now: Instant) -> Phase {
        let Some(mut backoff) = self.backoff() else {
            return Phase::Open;
        };
        backoff.tick(now);
        self.publish(&backoff);
        backoff.phase()
    }

    fn publish(&self, backoff: &Backoff) {
        self.round.store(backoff.round(), Ordering::Release);
        self.is_open
            .store(backoff.phase() == Phase::Open, Ordering::Release);
    }

    fn backoff(&self) -> Option<MutexGuard<'_, Backoff>> {
        let backoff = self.backoff.as_ref()?;
        Some(backoff.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
