//! What a broker knows about how many messages a connection takes, and what it should know.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{prompt::Promptness, window::AdaptiveWindow};

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

    /// Counts messages that came in; for `age` see [`AdaptiveWindow::received`].
    pub(super) fn received(&mut self, now: Instant, count: usize, age: Option<i64>) {
        let is_alone = self.in_flight == 0 && count == 1;
        self.in_flight += count;
        self.untaken.add(count);
        self.is_stopped = self.in_flight >= self.told;
        if let Some(window) = &mut self.window {
            self.promptness.received(now);
            window.received(now, count, age, self.is_stopped, is_alone);
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
            2 * open <= wanted && !self.waits_for_answer() && self.untaken.is_below(wanted.max(1))
        } else {
            open > wanted && open >= 2 * wanted
        }
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
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// An adaptive flow that has told the broker RDY 1.
    fn adaptive(limit: usize, now: Instant) -> Flow {
        let mut flow = Flow::new(Some(AdaptiveWindow::new(now)));
        assert_eq!(flow.update(now), None, "it has no share yet");
        flow.set_limit(limit);
        assert_eq!(flow.update(now), Some(1));
        flow
    }

    /// The user takes messages as soon as they come.
    fn received(flow: &mut Flow, now: Instant, count: usize, age: Option<i64>) {
        flow.received(now, count, age);
        take(flow, now, count, Duration::ZERO);
    }

    fn take(flow: &mut Flow, now: Instant, count: usize, waited: Duration) {
        for _ in 0..count {
            if flow.untaken().take() || AdaptiveWindow::is_slow(waited) {
                flow.taken(now, waited);
            }
        }
    }

    #[test]
    fn nothing_more_is_asked_for_while_something_is_not_taken() {
        let now = Instant::now();
        let mut flow = adaptive(100, now);
        flow.received(now, 1, Some(0));
        assert_eq!((flow.is_due(), flow.update(now)), (false, None));
        take(&mut flow, now, 1, Duration::ZERO);
        assert_eq!((flow.is_due(), flow.update(now)), (true, Some(2)));
    }

    #[test]
    fn whoever_is_slow_to_take_is_sent_one_message_ahead_of_time() {
        let mut now = Instant::now();
        let mut flow = adaptive(1000, now);
        // There is always a next message, and it has waited for long.
        for _ in 0..100 {
            now += 20 * MILLI;
            let count = flow.told() - flow.in_flight();
            flow.received(now, count, Some(1_000_000_000));
            flow.update(now);
            now += 20 * MILLI;
            take(&mut flow, now, count, 20 * MILLI);
            flow.update(now);
            flow.answer();
            flow.update(now);
            assert!(flow.told() - flow.in_flight() <= 2, "{flow:?}");
        }
    }

    #[test]
    fn without_a_window_the_broker_is_told_the_limit_once() {
        let now = Instant::now();
        let mut flow = Flow::new(None);
        flow.set_limit(100);
        assert_eq!(flow.update(now), Some(100));
        received(&mut flow, now, 100, Some(0));
        assert_eq!(
            (flow.is_due(), flow.update(now), flow.look_at()),
            (false, None, None)
        );
        flow.set_limit(50);
        assert_eq!(flow.update(now), Some(50));
    }

    #[test]
    fn ready_follows_the_messages_that_handlers_hold_up_to_the_limit() {
        let now = Instant::now();
        let mut flow = adaptive(3, now);
        for ready in [Some(2), Some(3), None] {
            received(&mut flow, now, 1, Some(0));
            assert_eq!((flow.is_due(), flow.update(now)), (ready.is_some(), ready));
        }
        // An answer makes room by itself when all of the limit is in use.
        flow.answer();
        assert_eq!(flow.update(now), None);
        for ready in [2, 1] {
            flow.answer();
            assert_eq!(flow.update(now), Some(ready));
        }
    }

    #[test]
    fn a_limit_that_shrinks_is_told_at_once_and_none_means_none() {
        let now = Instant::now();
        let mut flow = adaptive(10, now);
        for _ in 0..5 {
            received(&mut flow, now, 1, None);
            flow.update(now);
        }
        flow.set_limit(2);
        assert_eq!(flow.update(now), Some(2));
        flow.set_limit(0);
        assert_eq!(flow.update(now), Some(0));
        flow.answer();
        assert_eq!((flow.is_due(), flow.look_at()), (false, None));
    }

    #[test]
    fn an_answer_that_comes_before_anything_is_written_needs_no_ready() {
        let now = Instant::now();
        let mut flow = adaptive(10, now);
        for _ in 0..3 {
            received(&mut flow, now, 1, Some(0));
            assert!(flow.is_due());
            flow.answer();
            assert_eq!(flow.update(now), None);
        }
    }

    #[test]
    fn a_wide_window_is_renewed_when_half_of_it_is_used_up() {
        let now = Instant::now();
        let mut flow = adaptive(1000, now);
        let mut later = now;
        while flow.told() - flow.in_flight() < 64 {
            later += MILLI / 2;
            let count = flow.told() - flow.in_flight();
            // The smallest age was seen first; all others queue.
            let age = if count == 1 && flow.in_flight() == 0 {
                0
            } else {
                1_000_000
            };
            received(&mut flow, later, count, Some(age));
            flow.update(later);
        }
        received(&mut flow, later, 31, None);
        assert_eq!(flow.update(later), None);
        received(&mut flow, later, 1, None);
        assert_eq!(flow.update(later), Some(flow.in_flight() + 64));
        assert_eq!(flow.look_at(), Some(later + MILLI));
        assert_eq!(
            flow.update(later + MILLI),
            Some(flow.in_flight() + 1),
            "the broker is quiet"
        );
    }

    #[test]
    fn a_narrow_window_is_not_moved_for_messages_that_are_answered_at_once() {
        let mut now = Instant::now();
        let mut flow = adaptive(100, now);
        // Four that are always there and queue.
        let mut round = |flow: &mut Flow| {
            let open = flow.told() - flow.in_flight();
            now += MILLI / 4;
            received(
                flow,
                now,
                open.min(4),
                Some(if open < 4 { 1_000_000 } else { 300_000 }),
            );
            let asked_for_more = flow.is_due();
            for _ in 0..open.min(4) {
                flow.answer();
            }
            flow.update(now);
            asked_for_more
        };
        received(&mut flow, Instant::now(), 1, Some(0));
        flow.answer();
        for _ in 0..100 {
            round(&mut flow);
        }
        for _ in 0..100 {
            assert!(!round(&mut flow));
            assert_eq!((flow.told(), flow.is_due()), (4, false));
        }
        // When they take long, there is room for others again.
        received(&mut flow, now, 4, Some(0));
        assert!(!flow.is_due());
        let later = now + MILLI;
        assert_eq!(flow.look_at(), Some(later));
        assert_eq!(flow.update(later), Some(8));
    }

    #[test]
    fn a_message_that_comes_alone_again_and_again_gets_company_only_when_its_answer_takes_long() {
        let mut now = Instant::now();
        let mut flow = adaptive(10, now);
        let mut told = 0;
        for _ in 0..60 {
            now += MILLI / 8;
            received(&mut flow, now, 1, Some(0));
            told += usize::from(flow.update(now).is_some());
            flow.answer();
            told += usize::from(flow.update(now).is_some());
        }
        assert!(told < 10, "{told} times");
        received(&mut flow, now, 1, Some(0));
        assert!(!flow.is_due());
        assert_eq!(flow.look_at(), Some(now + MILLI));
        assert_eq!(flow.update(now + MILLI), Some(2));
    }
}
