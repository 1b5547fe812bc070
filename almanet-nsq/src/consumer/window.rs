//! How many messages a broker that buffers may send unasked, found from how long messages queue.
//!
//! nsqd writes out what it holds for a subscriber when its buffer is full, when its ticker fires, or when the
//! subscriber is not ready, which is as soon as it has as many messages out as RDY says (`messagePump` in nsqd's
//! `protocol_v2.go`). So the distance from the messages in flight to RDY decides how many messages share one
//! write: with a distance of one each is written at once, with more they wait for each other.

use std::{ops::RangeInclusive, time::Duration};

use tokio::time::Instant;

use super::pace::{Delays, Rate};

/// Messages that queue longer than this are worth a wider window.
const LONG_DELAY: Duration = Duration::from_micros(400);
/// Messages that queue shorter than this gain nothing from the window that they came in.
const SHORT_DELAY: Duration = Duration::from_micros(200);
/// A window that is filled within this time costs nothing that anyone would notice.
const FREE: Duration = Duration::from_micros(250);
/// After this time without a message, the broker may be holding some back.
const QUIET: Duration = Duration::from_millis(1);
/// More small messages than this do not fit into nsqd's buffer (16 KiB), which is written when it is full.
const WIDEST: usize = 256;

/// How many messages in a row have to be late for the first step: one that was late by chance would make the next
/// one late too.
const CERTAIN: u32 = 4;
/// How many full windows it takes to try one that is wider than what has proved good.
const PATIENCE: RangeInclusive<u32> = 16..=4096;

/// Of messages in a row that each come alone, so many get room for another at once, to see whether another comes,
const TRIED: u32 = 4;
/// and then so many do not.
const ALONE: u32 = 64;

/// The window of one connection. It knows no clock: whoever asks says what time it is.
///
/// It doubles while the broker uses it up and messages queue, or come so fast that a wider one is filled at once,
/// and halves when neither is the case. A window that the load cannot fill makes messages wait until the broker is
/// made to write them out, so the width at which that happened is not tried again soon.
#[derive(Debug)]
pub(super) struct AdaptiveWindow {
    width: usize,
    delays: Delays,
    rate: Rate,
    received_at: Instant,
    /// Since when the broker could have sent something and nothing came.
    quiet_since: Instant,
    /// The width at which nothing came for a while, until it is known whether the broker held something back.
    gave_up: Option<usize>,
    /// The widest window that is known, or hoped, to be filled by the load.
    proved: usize,
    /// Full windows in a row that were not wide enough, at a width that may not simply double.
    streak: u32,
    patience: u32,
    /// Messages in a row that came while none was in flight, and did not queue.
    alone: u32,
}

impl AdaptiveWindow {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            width: 1,
            delays: Delays::new(now),
            rate: Rate::default(),
            received_at: now,
            quiet_since: now,
            gave_up: None,
            proved: WIDEST,
            streak: 0,
            patience: *PATIENCE.start(),
            alone: 0,
        }
    }

    /// How many messages the broker may send beyond those that are in flight.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// `count` messages came. The youngest was `age` nanoseconds old, by the broker's clock when it was published and
    /// by ours now; `None` where its age says nothing. `is_full` tells whether the broker has used up its window,
    /// `is_alone` whether it was one message while none was in flight.
    pub(super) fn received(
        &mut self,
        now: Instant,
        count: usize,
        age: Option<i64>,
        is_full: bool,
        is_alone: bool,
    ) {
        self.rate.count(count, now.duration_since(self.received_at));
        self.received_at = now;
        self.quiet_since = now;
        self.alone = match self.alone {
            _ if !is_alone => 0,
            alone if alone < TRIED + ALONE => alone + 1,
            _ => 1,
        };
        let Some(age) = age else { return };
        let delay = self.delays.delay(now, age);
        if delay.is_none_or(|delay| delay >= SHORT_DELAY) {
            self.alone = 0;
        }
        let free = if self.alone == 0 {
            self.rate.within(FREE)
        } else {
            1
        };
        match (self.gave_up.take(), delay) {
            (Some(width), Some(delay)) if delay >= QUIET => self.too_wide(width),
            _ if is_full && self.width < free => self.too_narrow(),
            (_, Some(delay)) if is_full && delay > LONG_DELAY => self.too_narrow(),
            // Of a backlog that is worked off, all there is to know is that there is one.
            (_, None) if is_full => self.too_narrow(),
            (_, Some(delay)) if delay < SHORT_DELAY => {
                if self.width > free {
                    self.width = (self.width / 2).max(1);
                }
                self.streak = 0;
            }
            _ => {}
        }
    }

    /// Messages queue although the broker sends as many as it may.
    fn too_narrow(&mut self) {
        self.streak += 1;
        if self.width > self.proved && self.streak >= *PATIENCE.start() {
            self.proved = self.width;
            self.patience = *PATIENCE.start();
        }
        let needed = match self.width {
            width if width >= self.proved => self.patience,
            1 => CERTAIN,
            _ => 1,
        };
        if self.streak >= needed {
            self.width = (self.width * 2).min(WIDEST);
            self.streak = 0;
        }
    }

    /// The broker held messages back because there were too few of them for a window of this width.
    fn too_wide(&mut self, width: usize) {
        if width > self.proved {
            self.patience = (self.patience * 4).min(*PATIENCE.end());
        }
        self.proved = (width / 2).max(1);
        self.width = self.proved;
        self.streak = 0;
    }

    /// Whether messages come one at a time, so that the next comes only after the answer to the last.
    ///
    /// Then an RDY that makes room for another while one is in flight is a write for nothing.
    pub(super) fn takes_turns(&self) -> bool {
        self.width == 1 && self.alone > TRIED
    }

    /// When to look whether messages still come one at a time.
    pub(super) fn turn_ends_at(&self) -> Instant {
        self.quiet_since + QUIET
    }

    /// Makes room for the next message before the last is answered, if that takes long.
    pub(super) fn check_turn(&mut self, now: Instant) {
        if self.turn_ends_at() <= now {
            self.alone = 0;
        }
    }

    /// The broker, which had used up its window, may send again.
    pub(super) fn reopened(&mut self, now: Instant) {
        self.quiet_since = now;
    }

    /// When to look whether the broker holds messages back; `None` while it cannot.
    pub(super) fn quiet_at(&self) -> Option<Instant> {
        (self.width > 1).then(|| self.quiet_since + QUIET)
    }

    /// Narrows the window if nothing came for a while, so that the broker writes out what it holds back.
    pub(super) fn check_quiet(&mut self, now: Instant) {
        if self.quiet_at().is_some_and(|at| at <= now) {
            self.gave_up = Some(self.width);
            self.width = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    /// A window at some time, and a broker whose clock is an hour ahead.
    struct Load {
        window: AdaptiveWindow,
        now: Instant,
    }

    impl Load {
        fn new() -> Self {
            let now = Instant::now();
            let mut load = Self {
                window: AdaptiveWindow::new(now),
                now,
            };
            load.one(100 * MICRO, Duration::ZERO);
            load
        }

        fn received(
            &mut self,
            count: usize,
            after: Duration,
            delay: Duration,
            is_full: bool,
            is_alone: bool,
        ) {
            self.now += after;
            let age = i64::try_from(delay.as_nanos()).unwrap() - 3_600_000_000_000;
            self.window
                .received(self.now, count, Some(age), is_full, is_alone);
        }

        /// One message, while none is in flight.
        fn one(&mut self, after: Duration, delay: Duration) {
            self.received(1, after, delay, self.window.width() == 1, true);
        }

        /// As many messages as the window takes, while others are in flight.
        fn full(&mut self, after: Duration, delay: Duration) {
            self.received(self.window.width(), after, delay, true, false);
        }

        /// Nothing for a while.
        fn quiet(&mut self) {
            self.now += 2 * QUIET;
            self.window.check_quiet(self.now);
        }

        fn wide(width: usize) -> Self {
            let mut load = Self::new();
            while load.window.width() < width {
                load.full(QUIET / 2, LONG_DELAY * 2);
            }
            load
        }
    }

    #[test]
    fn it_is_one_message_wide_at_first_and_stays_so_for_a_lone_caller() {
        let mut load = Load::new();
        for _ in 0..10_000 {
            load.one(130 * MICRO, 20 * MICRO);
            assert_eq!(load.window.width(), 1);
        }
    }

    #[test]
    fn it_grows_while_messages_queue_but_not_for_ever() {
        let mut load = Load::new();
        let mut widths = Vec::new();
        for _ in 0..20 {
            load.full(QUIET / 2, 2 * LONG_DELAY);
            widths.push(load.window.width());
        }
        assert_eq!(widths.get(..6), Some(&[1, 1, 1, 2, 4, 8][..]));
        assert_eq!(widths.last(), Some(&WIDEST));
    }

    #[test]
    fn messages_that_are_late_by_chance_do_not_widen_it() {
        let mut load = Load::new();
        for number in 0..10_000 {
            let delay = if number % 3 == 0 {
                Duration::ZERO
            } else {
                2 * QUIET
            };
            load.one(QUIET / 2, delay);
            assert_eq!(load.window.width(), 1);
        }
    }

    #[test]
    fn it_grows_as_far_as_messages_fill_it_at_once_although_none_queues() {
        let mut load = Load::new();
        for _ in 0..100 {
            // Forty messages in a millisecond are ten in a quarter of it.
            load.full(
                25 * MICRO * u32::try_from(load.window.width()).unwrap(),
                50 * MICRO,
            );
        }
        assert_eq!(load.window.width(), 16);
    }

    #[test]
    fn it_shrinks_when_messages_no_longer_queue() {
        let mut load = Load::wide(64);
        for width in [32, 16, 8, 4, 2, 1, 1] {
            load.received(1, QUIET, SHORT_DELAY / 2, false, false);
            assert_eq!(load.window.width(), width);
        }
    }

    #[test]
    fn a_quiet_broker_is_made_to_write_what_it_holds_back() {
        let mut load = Load::wide(8);
        let begun = load.now;
        assert_eq!(load.window.quiet_at(), Some(begun + QUIET));
        // While it could not send, it was not quiet.
        load.window.reopened(begun + QUIET);
        load.window.check_quiet(begun + QUIET);
        assert_eq!(load.window.width(), 8);
        load.window.check_quiet(begun + 2 * QUIET);
        assert_eq!(load.window.width(), 1);
        assert_eq!(load.window.quiet_at(), None);
    }

    #[test]
    fn a_width_that_made_messages_wait_is_not_tried_again_soon() {
        let mut load = Load::wide(16);
        load.quiet();
        // What came was older than the silence, so the broker had held it back.
        load.received(5, Duration::ZERO, 2 * QUIET, false, false);
        assert_eq!(load.window.width(), 8);
        let mut tried_after = Vec::new();
        for _ in 0..4 {
            let mut count = 0;
            while load.window.width() == 8 {
                load.full(QUIET / 2, 2 * LONG_DELAY);
                count += 1;
            }
            tried_after.push(count);
            assert_eq!(load.window.width(), 16);
            load.quiet();
            load.received(5, Duration::ZERO, 2 * QUIET, false, false);
        }
        assert_eq!(tried_after, [16, 64, 256, 1024]);
    }

    #[test]
    fn a_width_that_proves_good_may_be_exceeded_again() {
        let mut load = Load::wide(16);
        load.quiet();
        load.received(5, Duration::ZERO, 2 * QUIET, false, false);
        for _ in 0..16 * 8 {
            load.full(QUIET / 2, 2 * LONG_DELAY);
        }
        assert_eq!(load.window.width(), WIDEST);
    }

    #[test]
    fn a_pause_of_the_publishers_is_nobodys_fault() {
        let mut load = Load::wide(64);
        load.quiet();
        load.one(Duration::from_secs(1), Duration::ZERO);
        for _ in 0..10 {
            load.full(QUIET / 2, 2 * LONG_DELAY);
        }
        assert!(load.window.width() >= 64);
    }

    #[test]
    fn a_backlog_widens_it_although_its_messages_get_younger_and_younger() {
        let mut load = Load::new();
        for number in 0..20 {
            // One round trip over a network each, and messages that were published more slowly.
            load.full(QUIET / 2, Duration::from_secs(100) - number * QUIET);
        }
        assert_eq!(load.window.width(), WIDEST);
    }

    #[test]
    fn only_a_full_window_and_a_known_age_count() {
        let mut load = Load::wide(8);
        load.received(3, QUIET, 2 * LONG_DELAY, false, false);
        load.window.received(load.now, 8, None, true, false);
        assert_eq!(load.window.width(), 8);
    }

    #[test]
    fn callers_that_take_turns_are_noticed_and_looked_after() {
        let mut load = Load::new();
        let mut turns = 0;
        for _ in 0..=10 * (TRIED + ALONE) + TRIED {
            load.one(130 * MICRO, 20 * MICRO);
            turns += u32::from(load.window.takes_turns());
        }
        assert!(turns >= 10 * ALONE - 10 && load.window.takes_turns(), "{turns}");
        load.window.check_turn(load.window.turn_ends_at());
        assert!(!load.window.takes_turns(), "the answer took too long");
        load.received(1, MICRO, Duration::ZERO, true, false);
        assert!(!load.window.takes_turns(), "another message came meanwhile");
    }
}
