use super::*;
use crate::consumer::{burst::Bursts, expected::Expected};

const MILLI: Duration = Duration::from_millis(1);

/// An adaptive flow that has told the broker RDY 1.
fn adaptive(limit: usize, now: Instant) -> Flow {
    let mut flow = Flow::new(Some(AdaptiveWindow::new(now, None)));
    assert_eq!(flow.update(now), None, "it has no share yet");
    flow.set_limit(limit);
    assert_eq!(flow.update(now), Some(1));
    flow
}

/// The user takes messages as soon as they come.
fn received(flow: &mut Flow, now: Instant, count: usize, age: Option<i64>) {
    flow.received(now, &Batch::new(count, age));
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
    flow.received(now, &Batch::new(1, Some(0)));
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
        flow.received(now, &Batch::new(count, Some(1_000_000_000)));
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
        later += MILLI / 8;
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

/// A connection whose messages are answered as soon as they come.
struct Prompt {
    flow: Flow,
    bursts: Bursts,
    now: Instant,
    /// When the last message was published, in nanoseconds.
    published: i64,
    /// How often the broker was told something.
    told: usize,
}

impl Prompt {
    fn new(expected: Option<Expected>) -> Self {
        let now = Instant::now();
        let mut flow = Flow::new(Some(AdaptiveWindow::new(now, expected)));
        flow.set_limit(100);
        assert_eq!(flow.update(now), Some(1));
        let mut prompt = Self {
            flow,
            bursts: Bursts::default(),
            now,
            published: 0,
            told: 0,
        };
        // Until it is certain that answers are prompt.
        for _ in 0..20 {
            prompt.receive(1, 300);
        }
        prompt.told = 0;
        prompt
    }

    /// So many messages come with one read, the first of them published so many microseconds after the last.
    fn receive(&mut self, count: usize, after: i64) {
        self.published += after * 1_000;
        let published = self.published;
        self.now += u32::try_from(after).unwrap() * MILLI / 1_000;
        let mut batch = Batch::new(count, Some(0));
        self.bursts
            .note(&mut batch, std::iter::repeat_n(published, count));
        self.flow.received(self.now, &batch);
        take(&mut self.flow, self.now, count, Duration::ZERO);
        self.told += usize::from(self.flow.update(self.now).is_some());
        for _ in 0..count {
            self.flow.answer();
        }
        self.told += usize::from(self.flow.update(self.now).is_some());
    }
}

#[test]
fn the_broker_is_told_once_how_many_answers_are_expected() {
    let expected = Expected::default();
    expected.set(5);
    let mut prompt = Prompt::new(Some(expected.clone()));
    assert_eq!(prompt.flow.told(), 5);
    let mut told = 0;
    for count in [5, 6, 16] {
        expected.set(count);
        prompt.receive(prompt.flow.told(), 200);
        for _ in 0..1_000 {
            prompt.receive(count, 200);
        }
        assert_eq!((prompt.flow.told(), prompt.told), (count, told));
        told += 1;
    }
    expected.set(15);
    let until = (1..).find(|_| {
        prompt.receive(16, 200);
        prompt.flow.told() != 16
    });
    assert!(until <= Some(20), "{until:?}");
    assert_eq!((prompt.flow.told(), prompt.told), (15, told));
}

#[test]
fn the_broker_is_told_once_how_many_calls_come_together() {
    let mut prompt = Prompt::new(None);
    for _ in 0..4 {
        assert_eq!(prompt.flow.told(), 1);
        prompt.receive(1, 200);
        prompt.receive(1, 5);
        prompt.receive(1, 5);
    }
    assert_eq!((prompt.flow.told(), prompt.told), (3, 1));
    for _ in 0..1_000 {
        prompt.receive(3, 200);
    }
    assert_eq!((prompt.flow.told(), prompt.told), (3, 1));
}

#[test]
fn a_broker_that_waits_for_more_than_come_together_is_told_to_wait_no_longer() {
    let expected = Expected::default();
    expected.set(5);
    let mut prompt = Prompt::new(Some(expected.clone()));
    for _ in 0..100 {
        prompt.receive(5, 200);
    }
    // One caller has gone.
    expected.set(4);
    prompt.now += MILLI;
    assert_eq!(prompt.flow.look_at(), Some(prompt.now));
    assert_eq!(prompt.flow.update(prompt.now), Some(1));
    let mut late = Batch::new(4, Some(1_000_000));
    late.is_burst = true;
    prompt.flow.received(prompt.now, &late);
    take(&mut prompt.flow, prompt.now, 4, Duration::ZERO);
    for _ in 0..4 {
        prompt.flow.answer();
    }
    assert_eq!(prompt.flow.update(prompt.now), Some(4));
}

/// How many messages of a backlog come at once from a broker that is so far away, after a while.
fn backlog_from_afar(round_trip: Duration) -> usize {
    let begun = Instant::now();
    let mut now = begun;
    let mut flow = adaptive(2500, now);
    // The smallest age was seen before there was a backlog.
    received(&mut flow, now, 1, Some(0));
    flow.answer();
    flow.update(now);
    let mut count = 0;
    for _ in 0..300 {
        // As soon as the broker hears of a window it fills it, whatever it hears later.
        count = flow.told() - flow.in_flight();
        let comes_at = now + round_trip;
        while let Some(look_at) = flow.look_at().filter(|at| *at < comes_at) {
            now = look_at;
            flow.update(now);
        }
        now = comes_at;
        // More was published meanwhile than is read.
        let age = Duration::from_secs(1) + now.duration_since(begun) / 10;
        let age = i64::try_from(age.as_nanos()).unwrap();
        received(&mut flow, now, count, Some(age));
        flow.update(now);
        for _ in 0..count {
            flow.answer();
        }
        flow.update(now);
    }
    count
}

#[test]
fn a_broker_that_is_far_away_or_busy_is_given_the_time_that_it_takes() {
    for micros in [100, 900, 1_500, 5_000, 20_000] {
        let count = backlog_from_afar(Duration::from_micros(micros));
        assert!(count >= 128, "{count} at once over {micros} us");
    }
}

#[test]
fn a_message_that_comes_seldom_is_not_held_back_for_others_that_are_expected() {
    let expected = Expected::default();
    expected.set(3);
    let mut prompt = Prompt::new(None);
    prompt.flow = adaptive(100, prompt.now);
    prompt.flow.window = Some(AdaptiveWindow::new(prompt.now, Some(expected)));
    for _ in 0..100 {
        prompt.receive(1, 20_000);
        assert_eq!(prompt.flow.told(), 1);
    }
}
