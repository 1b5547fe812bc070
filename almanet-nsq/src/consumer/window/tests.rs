use super::*;

const MICRO: Duration = Duration::from_micros(1);

const FULL: Circumstances = Circumstances {
    is_full: true,
    is_alone: false,
    is_prompt: false,
};

/// A window at some time, and a broker whose clock is an hour ahead.
struct Load {
    window: AdaptiveWindow,
    now: Instant,
}

impl Load {
    fn new() -> Self {
        let now = Instant::now();
        let mut load = Self {
            window: AdaptiveWindow::new(now, None),
            now,
        };
        load.one(100 * MICRO, Duration::ZERO);
        load
    }

    fn received(&mut self, count: usize, after: Duration, delay: Duration, is_full: bool, is_alone: bool) {
        self.now += after;
        let age = i64::try_from(delay.as_nanos()).unwrap() - 3_600_000_000_000;
        let circumstances = Circumstances {
            is_full,
            is_alone,
            is_prompt: false,
        };
        let batch = Batch::new(count, Some(age));
        self.window.received(self.now, &batch, circumstances);
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
    assert_eq!(widths.get(..6), Some(&[1, 1, 2, 4, 8, 16][..]));
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
fn it_grows_for_callers_who_wait_for_each_other_although_each_message_comes_alone() {
    let mut load = Load::new();
    for _ in 0..100 {
        load.one(80 * MICRO, 120 * MICRO);
    }
    assert_eq!(load.window.width(), 2);
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
fn it_does_not_swing_while_the_load_fills_it_at_once() {
    let mut load = Load::new();
    let mut widths = Vec::new();
    for _ in 0..200 {
        // Twelve messages in a millisecond are three in a quarter of it: between two and four.
        let width = u32::try_from(load.window.width()).unwrap();
        load.full(83 * MICRO * width, 50 * MICRO);
        widths.push(width);
    }
    assert!(widths.iter().skip(100).all(|width| *width == 4), "{widths:?}");
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
    for _ in 0..6 {
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
    // Half a millisecond each: after 1, 1, 4, 16, 64, 64 ms, and not before there is proof.
    assert_eq!(tried_after, [16, 16, 16, 32, 128, 128]);
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
    load.window.received(load.now, &Batch::new(8, None), FULL);
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

#[test]
fn without_a_buffer_it_doubles_when_a_full_one_was_taken_in_time_and_only_then() {
    let now = Instant::now();
    let mut window = AdaptiveWindow::unbuffered(now);
    for _ in 0..3 {
        window.received(now, &Batch::new(16, None), FULL);
    }
    assert_eq!(window.width(), 16, "nothing was taken");
    for width in [32, 64, 128] {
        window.taken(now, SLOW);
        assert_eq!(window.width(), width);
        window.taken(now, SLOW);
        assert_eq!(window.width(), width, "it was not used up again");
        window.received(now, &Batch::new(width, None), FULL);
    }
    assert_eq!((window.quiet_at(), window.takes_turns()), (None, false));
}

#[test]
fn while_messages_wait_for_the_user_it_halves_again_and_again_and_does_not_grow() {
    let mut load = Load::wide(256);
    // Once or twice may be chance.
    for width in [256, 256, 128, 64, 32, 16, 8, 4, 2, 1, 1] {
        load.now += 2 * SLOW;
        for _ in 0..10 {
            load.window.taken(load.now, 2 * SLOW);
            load.full(MICRO, LONG_DELAY * 2);
        }
        assert_eq!(load.window.width(), width);
    }
    load.window.taken(load.now, SLOW);
    // It is not slow any more.
    for _ in 0..CERTAIN {
        load.full(QUIET / 2, LONG_DELAY * 2);
    }
    assert!(load.window.width() > 1);
}

/// The window after `count` full ones of messages that are answered at once, and come in bursts of three.
fn hopeful(load: &mut Load, count: u32) -> usize {
    for _ in 0..count {
        load.now += QUIET / 2;
        let batch = Batch {
            last_burst: 3,
            ..Batch::new(1, Some(1_000_000 - 3_600_000_000_000))
        };
        let circumstances = Circumstances {
            is_prompt: true,
            ..FULL
        };
        load.window.received(load.now, &batch, circumstances);
    }
    load.window.width()
}

#[test]
fn while_messages_come_together_it_does_not_grow_for_a_while() {
    // The first of eight times three has come already.
    assert_eq!(hopeful(&mut Load::new(), 23), 1);
    assert_eq!(hopeful(&mut Load::new(), 24), 2);
}

#[test]
fn where_messages_come_together_one_that_was_too_wide_begins_anew() {
    for (is_prompt, width) in [(true, 1), (false, 4)] {
        let mut load = Load::wide(8);
        load.quiet();
        let batch = Batch {
            last_burst: 3,
            ..Batch::new(3, Some(2_000_000 - 3_600_000_000_000))
        };
        let circumstances = Circumstances { is_prompt, ..FULL };
        load.window.received(load.now, &batch, circumstances);
        assert_eq!(load.window.width(), width);
    }
}

#[test]
fn only_what_had_waited_and_was_not_held_back_tells_how_far_away_the_broker_is() {
    let far = 5 * QUIET;
    let mut load = Load::wide(8);
    load.window.reopened(load.now);
    load.full(far, far / 2);
    assert_eq!(load.window.quiet(), QUIET, "it was published meanwhile");
    load.window.reopened(load.now);
    load.quiet();
    load.received(3, far, 2 * far, false, false);
    assert_eq!(load.window.quiet(), QUIET, "the broker held it back");
    load.window.reopened(load.now);
    load.full(far, 2 * far);
    assert_eq!(load.window.quiet(), QUIET_TRIPS * far);
}

#[test]
fn all_that_come_together_for_the_first_time_are_waited_for_while_they_are_answered_one_by_one() {
    let far = 5 * QUIET;
    let now = Instant::now();
    let expected = Expected::default();
    expected.set(6);
    let mut load = Load {
        window: AdaptiveWindow::new(now, Some(expected)),
        now,
    };
    load.one(far, Duration::ZERO);
    load.window.reopened(load.now);
    load.one(far, 2 * far);
    let is_prompt = |load: &mut Load, batch: &Batch| {
        let circumstances = Circumstances {
            is_prompt: true,
            ..FULL
        };
        load.window.received(load.now, batch, circumstances);
    };
    is_prompt(&mut load, &Batch::new(1, Some(0)));
    assert_eq!((load.window.width(), load.window.quiet()), (6, 2 * 6 * far));
    let together = Batch {
        is_burst: true,
        ..Batch::new(6, Some(0))
    };
    is_prompt(&mut load, &together);
    assert_eq!((load.window.width(), load.window.quiet()), (6, QUIET_TRIPS * far));
}
