//! Whether messages are answered as soon as they come.

use std::time::Duration;

use tokio::time::Instant;

/// An answer that came within this time needed none to speak of.
const SOON: Duration = Duration::from_micros(300);
/// Whoever has not answered by then does something that takes time.
const LATE: Duration = Duration::from_millis(1);
/// How many times in a row all messages have to be answered soon.
const CERTAIN: u32 = 16;

/// The pace of the user of one connection. It knows no clock: whoever asks says what time it is.
#[derive(Debug, Default)]
pub(super) struct Promptness {
    /// When the last message came; `None` once all are answered.
    received_at: Option<Instant>,
    /// How many times in a row all messages were answered soon after the last had come.
    times: u32,
}

impl Promptness {
    pub(super) fn received(&mut self, now: Instant) {
        self.received_at = Some(now);
    }

    /// Some time later, `in_flight` messages are not answered.
    pub(super) fn look(&mut self, now: Instant, in_flight: usize) {
        let Some(received_at) = self.received_at else {
            return;
        };
        let passed = now.duration_since(received_at);
        match in_flight {
            0 => {
                self.received_at = None;
                self.times = if passed < SOON {
                    self.times.saturating_add(1)
                } else {
                    0
                };
            }
            _ if passed >= LATE => self.times = 0,
            _ => {}
        }
    }

    /// Whether the next answers most likely come before anything else.
    pub(super) fn is_certain(&self) -> bool {
        self.times >= CERTAIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(now: Instant) -> Promptness {
        let mut prompt = Promptness::default();
        for _ in 0..CERTAIN {
            assert!(!prompt.is_certain());
            prompt.received(now);
            prompt.look(now + SOON / 2, 1);
            prompt.look(now + SOON / 2, 0);
        }
        assert!(prompt.is_certain());
        prompt
    }

    #[test]
    fn it_takes_many_answers_to_be_certain_and_one_late_one_not_to_be() {
        let now = Instant::now();
        let mut slow = prompt(now);
        slow.received(now);
        slow.look(now + SOON, 0);
        assert!(!slow.is_certain(), "answered late");

        let mut silent = prompt(now);
        silent.received(now);
        silent.look(now + LATE / 2, 3);
        assert!(silent.is_certain(), "it is not late yet");
        silent.look(now + LATE, 3);
        assert!(!silent.is_certain(), "not answered");
    }

    #[test]
    fn nothing_that_came_is_nothing_that_was_answered() {
        let now = Instant::now();
        let mut idle = Promptness::default();
        for _ in 0..2 * CERTAIN {
            idle.look(now, 0);
        }
        assert!(!idle.is_certain());
        let mut idle = prompt(now);
        idle.look(now + 10 * LATE, 0);
        assert!(idle.is_certain(), "a pause between messages says nothing");
    }
}
