use super::*;

const MILLI: Duration = Duration::from_millis(1);

/// A window of messages that are answered at once.
struct Window {
    exact: Exact,
    now: Instant,
}

impl Window {
    fn new(expected: Option<&Expected>) -> Self {
        let now = Instant::now();
        Self {
            exact: Exact::new(now, expected.cloned()),
            now,
        }
    }

    fn received(&mut self, batch: Batch, is_prompt: bool) -> Option<usize> {
        self.now += MILLI / 4;
        self.exact.received(self.now, &batch, is_prompt, true)
    }

    /// So many messages together.
    fn together(&mut self, count: usize) -> Option<usize> {
        self.received(together(count), true)
    }

    /// One message of which it is not known that others were published with it.
    fn apart(&mut self) -> Option<usize> {
        self.received(Batch::new(1, None), true)
    }

    /// The same messages, which nobody had expected, again and again.
    fn repeated(count: usize) -> Self {
        let mut window = Self::new(None);
        assert_eq!(window.received(steady(count), true), Some(count));
        window
    }

    /// How many messages apart it takes until the window is given up.
    fn patience(&mut self) -> usize {
        (1..).find(|_| self.apart().is_none()).unwrap()
    }

    /// How long it takes, without any message that fits, until another is tried.
    fn pause(&mut self) -> Duration {
        let begun = self.now;
        while self.apart().is_none() {}
        self.now - begun
    }
}

fn together(count: usize) -> Batch {
    Batch {
        is_burst: true,
        last_burst: count,
        ..Batch::new(count, None)
    }
}

fn steady(count: usize) -> Batch {
    Batch {
        ended_burst: Some(count),
        ..together(count)
    }
}

fn expected(count: usize) -> Expected {
    let expected = Expected::default();
    expected.set(count);
    expected
}

#[test]
fn as_many_as_are_expected_are_tried_where_answers_are_prompt_and_not_elsewhere() {
    for (count, width) in [(0, None), (1, None), (2, Some(2)), (16, Some(16)), (17, None)] {
        let mut window = Window::new(Some(&expected(count)));
        assert_eq!(window.received(together(1), false), None);
        assert_eq!(window.apart(), width);
    }
}

#[test]
fn none_is_tried_where_messages_come_seldom() {
    let mut window = Window::new(Some(&expected(3)));
    let mut received = |is_dense| {
        window
            .exact
            .received(window.now, &Batch::new(1, None), true, is_dense)
    };
    assert_eq!(received(false), None);
    assert_eq!(received(true), Some(3));
    assert_eq!(received(false), Some(3), "what is known is not given up for that");
}

#[test]
fn as_many_as_come_together_again_and_again_are_tried_where_nothing_is_expected() {
    let mut window = Window::new(None);
    assert_eq!(window.together(3), None, "it is not certain");
    assert_eq!(window.received(steady(3), false), None, "answers are not prompt");
    assert_eq!(window.received(steady(17), true), None, "these are too many");
    assert_eq!(window.received(steady(3), true), Some(3));
    assert_eq!(window.together(3), Some(3));
}

#[test]
fn a_window_that_fits_stays_for_as_long_as_it_mostly_does() {
    let mut window = Window::new(Some(&expected(5)));
    window.apart();
    for _ in 0..1000 {
        assert_eq!(window.together(5), Some(5));
        assert_eq!(window.apart(), Some(5));
        assert_eq!(window.together(5), Some(5));
    }
    assert_eq!(window.patience(), CREDIT as usize);
    let as_many = |window: &mut Window| window.received(Batch::new(5, None), true);
    let mut window = Window::repeated(5);
    let until = (1..).find(|_| as_many(&mut window).is_none()).unwrap();
    assert_eq!(until, CREDIT, "they were not published together");
    let mut window = Window::repeated(5);
    assert_eq!(window.together(4), Some(5));
    assert_eq!(
        window.received(together(5), false),
        None,
        "answers take their time"
    );
}

#[test]
fn a_window_that_does_not_fit_is_tried_again_less_and_less_often() {
    let mut window = Window::new(Some(&expected(3)));
    window.apart();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        assert_eq!(window.patience(), CREDIT as usize);
        pauses.push(window.pause().as_millis());
    }
    assert_eq!(pauses, [4, 16, 64, 256, 256, 256]);
    // One that has fitted for long is another matter.
    for _ in 0..PROOF {
        window.together(3);
    }
    window.patience();
    assert_eq!(window.pause(), 4 * MILLI);
}

#[test]
fn the_most_that_were_expected_lately_count_until_they_are_known_to_be_gone() {
    let hint = expected(4);
    let mut window = Window::new(Some(&hint));
    window.apart();
    hint.set(3);
    assert_eq!(
        window.together(4),
        Some(4),
        "one is between its answer and its next call"
    );
    hint.set(6);
    assert_eq!(window.together(4), Some(6));
    hint.set(5);
    window.exact.interrupted(window.now, true);
    assert_eq!(
        window.together(5),
        Some(5),
        "the broker waited for a sixth in vain"
    );
    hint.set(3);
    let until = (1..).find(|_| window.together(5) == Some(3)).unwrap();
    assert!((ROUND..=2 * ROUND).contains(&until), "{until}");
    hint.set(17);
    assert_eq!(window.together(3), None, "these are too many");
    hint.set(3);
    let until = (1..).find(|_| window.together(3) == Some(3)).unwrap();
    assert!(until <= 2 * ROUND, "{until}: it was not wrong to try");
}

#[test]
fn a_broker_that_holds_back_what_was_to_come_together_is_believed_soon() {
    let stalls = |window: &mut Window| {
        (1..)
            .find(|_| {
                window.exact.interrupted(window.now, true);
                !window.exact.is_known()
            })
            .unwrap()
    };
    let mut window = Window::new(Some(&expected(3)));
    window.apart();
    assert_eq!(stalls(&mut window), CREDIT / FIRST_STALL);
    while window.apart().is_none() {}
    window.together(3);
    assert_eq!(stalls(&mut window), CREDIT / STALL, "it has fitted once");
}

#[test]
fn after_a_pause_all_that_are_expected_come_together_behind_the_first() {
    let mut window = Window::new(Some(&expected(5)));
    window.apart();
    window.together(5);
    window.exact.interrupted(window.now, false);
    assert_eq!(window.apart(), Some(4));
    assert_eq!(window.apart(), Some(3));
    assert_eq!(window.together(3), Some(5));
    assert_eq!(window.together(5), Some(5));
}

#[test]
fn after_a_pause_whoever_expects_nothing_waits_for_the_end_of_a_burst() {
    for is_late in [false, true] {
        let mut window = Window::repeated(3);
        window.together(3);
        window.exact.interrupted(window.now, is_late);
        assert!(!window.exact.is_known());
        assert_eq!(window.together(1), None);
        assert_eq!(window.received(steady(3), true), Some(3), "without a pause");
    }
}
