//! What a broker knows about how many messages a connection takes, and what it should know.

use tokio::time::Instant;

use super::window::AdaptiveWindow;

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
    /// Whether the broker had used up its window when it was last looked at.
    is_stopped: bool,
}

impl Flow {
    pub(super) fn new(window: Option<AdaptiveWindow>) -> Self {
        Self {
            window,
            limit: 0,
            told: 0,
            in_flight: 0,
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

    /// Counts messages that came in; for `age` see [`AdaptiveWindow::received`].
    pub(super) fn received(&mut self, now: Instant, count: usize, age: Option<i64>) {
        let is_alone = self.in_flight == 0 && count == 1;
        self.in_flight += count;
        self.is_stopped = self.in_flight >= self.told;
        if let Some(window) = &mut self.window {
            window.received(now, count, age, self.is_stopped, is_alone);
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
    fn waits_for_answer(&self) -> bool {
        self.in_flight > 0 && self.window.as_ref().is_some_and(AdaptiveWindow::takes_turns)
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
            2 * open <= wanted && !self.waits_for_answer()
        } else {
            open > wanted && open >= 2 * wanted
        }
    }

    /// The RDY to tell the broker now, if any.
    pub(super) fn update(&mut self, now: Instant) -> Option<usize> {
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
    use std::time::Duration;

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

    #[test]
    fn without_a_window_the_broker_is_told_the_limit_once() {
        let now = Instant::now();
        let mut flow = Flow::new(None);
        flow.set_limit(100);
        assert_eq!(flow.update(now), Some(100));
        flow.received(now, 100, Some(0));
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
            flow.received(now, 1, Some(0));
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
            flow.received(now, 1, None);
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
            flow.received(now, 1, Some(0));
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
            flow.received(later, count, Some(age));
            flow.update(later);
        }
        flow.received(later, 31, None);
        assert_eq!(flow.update(later), None);
        flow.received(later, 1, None);
        assert_eq!(flow.update(later), Some(flow.in_flight() + 64));
        assert_eq!(flow.look_at(), Some(later + MILLI));
        assert_eq!(
            flow.update(later + MILLI),
            Some(flow.in_flight() + 1),
            "the broker is quiet"
        );
    }

    #[test]
    fn a_message_that_comes_alone_again_and_again_gets_company_only_when_its_answer_takes_long() {
        let mut now = Instant::now();
        let mut flow = adaptive(10, now);
        let mut told = 0;
        for _ in 0..60 {
            now += MILLI / 8;
            flow.received(now, 1, Some(0));
            told += usize::from(flow.update(now).is_some());
            flow.answer();
            told += usize::from(flow.update(now).is_some());
        }
        assert!(told < 10, "{told} times");
        flow.received(now, 1, Some(0));
        assert!(!flow.is_due());
        assert_eq!(flow.look_at(), Some(now + MILLI));
        assert_eq!(flow.update(now + MILLI), Some(2));
    }
}
