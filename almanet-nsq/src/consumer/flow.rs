//! What a broker knows about how many messages a connection takes, and what it should know.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    burst::Batch,
    prompt::Promptness,
    window::{AdaptiveWindow, Circumstances},
};

/// The messages of one connection, counted, and the RDY that follows from it.
#[derive(Debug)]
pub(super) struct Flow {
    /// `None` where the broker may always have as many messages out as the limit says.
    window: Option<AdaptiveWindow>,
    /// This connection's share of all messages that may be in flight; zero when it shall have none.
    limit: usize,
    /// The RDY that the broker was told last.
    told: usize,
    /// Deliveries that are not answered.
    in_flight: usize,
    untaken: Untaken,
    promptness: Promptness,
    /// Whether the broker had used up its window when it was last looked at.
    is_stopped: bool,
}

/// Counts the deliveries of one connection that wait for the user.
#[derive(Debug, Clone, Default)]
pub(super) struct Untaken(Arc<UntakenCount>);

#[derive(Debug, Default)]
struct UntakenCount {
    count: AtomicUsize,
    /// Whether something follows when the last is taken. Mostly nothing does, and then taking costs no lock.
    is_watched: AtomicBool,
}

impl Untaken {
    fn add(&self, count: usize) {
        self.0.count.fetch_add(count, Ordering::SeqCst);
    }

    /// One less. Returns whether that was the last and is waited for.
    pub(super) fn take(&self) -> bool {
        self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.is_watched.load(Ordering::SeqCst)
    }

    fn watch(&self, is_watched: bool) {
        self.0.is_watched.store(is_watched, Ordering::SeqCst);
    }

    /// Whether there are fewer than `limit`. If not, the last to be taken is watched.
    fn is_below(&self, limit: usize) -> bool {
        let is_below = || self.0.count.load(Ordering::SeqCst) < limit;
        is_below() || {
            self.watch(true);
            // They may have been taken just before that.
            is_below()
        }
    }
}

impl Flow {
    pub(super) fn new(window: Option<AdaptiveWindow>) -> Self {
        Self {
            window,
            limit: 0,
            told: 0,
            in_flight: 0,
            untaken: Untaken::default(),
            promptness: Promptness::default(),
            is_stopped: true,
        }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The RDY that the broker was told last.
    pub(super) fn told(&self) -> usize {
        self.told
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn untaken(&self) -> Untaken {
        self.untaken.clone()
    }

    /// The user has taken a message, which had `waited` for that. Not all need to be told, only the last that was
    /// there, if that is [watched](Untaken::take), and those that [waited for long](AdaptiveWindow::is_slow).
    pub(super) fn taken(&mut self, now: Instant, waited: Duration) {
        self.untaken.watch(false);
        if let Some(window) = &mut self.window {
            window.taken(now, waited);
        }
    }

    /// Counts messages that came in.
    pub(super) fn received(&mut self, now: Instant, batch: &Batch) {
        let is_alone = self.in_flight == 0 && batch.count == 1;
        self.in_flight += batch.count;
        self.untaken.add(batch.count);
        self.is_stopped = self.in_flight >= self.told;
        if let Some(window) = &mut self.window {
            self.promptness.received(now);
            let circumstances = Circumstances {
                is_full: self.is_stopped,
                is_alone,
                is_prompt: self.promptness.is_certain(),
            };
            window.received(now, batch, circumstances);
            if window.watches() {
                self.untaken.watch(true);
            }
        }
    }

    /// Counts a delivery that was answered.
    pub(super) fn answer(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// When to call [`update`](Self::update) even if nothing happens until then.
    pub(super) fn look_at(&self) -> Option<Instant> {
        let window = self.window.as_ref()?;
        if self.is_stopped {
            self.waits_for_answer().then(|| window.turn_ends_at())
        } else {
            window.quiet_at()
        }
    }

    /// Whether RDY waits for an answer, which most likely comes soon and makes room as well.
    ///
    /// While it waits, the broker writes out what it has as soon as that fills the window. An RDY that followed the
    /// messages in flight, if only until they are answered, would have it wait for more than the window is wide.
    fn waits_for_answer(&self) -> bool {
        let is_soon = |window: &AdaptiveWindow| {
            window.takes_turns() || self.promptness.is_certain() && window.is_narrow() && window.width() > 1
        };
        self.in_flight > 0 && self.window.as_ref().is_some_and(is_soon)
    }

    /// Whether the broker must be told a new RDY, or it would stop sending or hold messages back.
    pub(super) fn is_due(&self) -> bool {
        let target = self.target();
        if self.window.is_none() || self.told > self.limit || self.limit == 0 {
            return target != self.told;
        }
        let open = self.told.saturating_sub(self.in_flight);
        let wanted = target.saturating_sub(self.in_flight);
        if target > self.told {
            // Nothing is asked for while a whole window waits for the user: others on the channel may be free for it.
            (2 * open <= wanted || self.is_exact())
                && !self.waits_for_answer()
                && self.untaken.is_below(wanted.max(1))
        } else {
            open > wanted && (open >= 2 * wanted || self.is_exact())
        }
    }

    /// Whether RDY has to be what it should be, and nothing near it.
    fn is_exact(&self) -> bool {
        self.in_flight == 0 && self.window.as_ref().is_some_and(AdaptiveWindow::is_exact)
    }

    /// The RDY to tell the broker now, if any.
    pub(super) fn update(&mut self, now: Instant) -> Option<usize> {
        self.promptness.look(now, self.in_flight);
        match &mut self.window {
            Some(window) if self.is_stopped => window.check_turn(now),
            Some(window) => window.check_quiet(now),
            None => {}
        }
        let news = self.is_due().then(|| self.target());
        self.told = news.unwrap_or(self.told);
        if self.is_stopped && self.in_flight < self.told {
            self.is_stopped = false;
            if let Some(window) = &mut self.window {
                window.reopened(now);
            }
        }
        news
    }

    fn target(&self) -> usize {
        match &self.window {
            Some(window) => (self.in_flight + window.width()).min(self.limit),
            None => self.limit,
        }
    }
}

#[cfg(test)]
mod tests;
