//! Windows of exactly as many messages as come together.
//!
//! Callers that wait for their answers, and a service that answers at once, can fall into step: all calls arrive with
//! one write, and all answers leave with one. It takes a window of exactly as many messages on both sides: with one
//! less, the last message waits for the next time, and with one more all wait for what does not come.
//!
//! Whoever waits for answers knows their number and goes ahead ([`Expected`]). Then the calls are published together, and that
//! shows in their timestamps ([`Bursts`](super::burst::Bursts)), which is how the service follows.

use std::{ops::RangeInclusive, time::Duration};

use tokio::time::Instant;

use super::{burst::Batch, expected::Expected};

/// How many messages may come together. Measured over nsqd: in step, 3 calls have 1.8 times as many answers a second as in the
/// unbuffered mode, and 16 have 3.8 times as many; 32 seldom find into step and lose more by trying than they win.
const SIZES: RangeInclusive<usize> = 2..=16;

/// How many batches more that do not fit than do are put up with,
const CREDIT: u32 = 16;
/// for how many of them it counts that the broker held messages back,
const STALL: u32 = 4;
/// and how often before any has fitted.
const FIRST_STALL: u32 = 8;

/// Whoever has had so many batches that fitted was not wrong to try.
const PROOF: u32 = 64;
/// After a window that did not fit, none is tried for so long: at first, and at most.
const HOLD_OFF: RangeInclusive<Duration> = Duration::from_millis(4)..=Duration::from_millis(256);

/// For how many batches at least the most that were expected counts, and at most for twice as many. Between an answer and
/// the next call one less is expected.
const ROUND: u32 = 8;

/// The exact window of one connection. It knows no clock: whoever asks says what time it is.
#[derive(Debug)]
pub(super) struct Exact {
    expected: Option<Expected>,
    /// The most that were expected in this round and in the one before.
    peaks: [usize; 2],
    /// Batches of this round.
    batches: u32,
    /// `None` while no window is known that might fit.
    width: Option<usize>,
    /// Messages that have to come before all come together again.
    rest: usize,
    /// How many batches that do not fit are put up with from here on.
    credit: u32,
    /// Batches that have fitted.
    fitted: u32,
    /// No other window is tried before,
    not_before: Instant,
    /// and after the next that does not fit, not for so long.
    hold_off: Duration,
}

impl Exact {
    pub(super) fn new(now: Instant, expected: Option<Expected>) -> Self {
        Self {
            expected,
            peaks: [0; 2],
            batches: 0,
            width: None,
            rest: 0,
            credit: 0,
            fitted: 0,
            not_before: now,
            hold_off: *HOLD_OFF.start(),
        }
    }

    /// Whether there is such a window.
    pub(super) fn is_known(&self) -> bool {
        self.width.is_some()
    }

    /// Whether there is one that has not fitted yet.
    pub(super) fn is_on_trial(&self) -> bool {
        self.width.is_some() && self.fitted == 0
    }

    /// How wide it may get.
    pub(super) fn widest() -> usize {
        *SIZES.end()
    }

    /// How many messages may come together soon, if `batch` lets one hope that any do.
    pub(super) fn hope(&self, batch: &Batch) -> Option<usize> {
        let size = match self.expected {
            Some(_) => self.most_expected(),
            None => batch.last_burst,
        };
        SIZES.contains(&size).then_some(size)
    }

    /// Counts what came. `is_prompt` tells whether messages are answered as soon as they come, `is_dense` whether the next is
    /// to be expected before the broker counts as holding it back: a message that comes seldom must not wait for others. Returns
    /// the window from here on, if one is known.
    pub(super) fn received(
        &mut self,
        now: Instant,
        batch: &Batch,
        is_prompt: bool,
        is_dense: bool,
    ) -> Option<usize> {
        let size = self.size(batch);
        let Some(width) = self.width else {
            if is_prompt && is_dense && now >= self.not_before {
                self.try_width(size);
            }
            return self.width;
        };
        if self.rest > 0 {
            self.rest = self.rest.saturating_sub(batch.count);
            return Some(if self.rest > 0 { self.rest } else { width });
        }
        if batch.is_burst && batch.count == width {
            self.fitted += 1;
            self.credit = (self.credit + 1).min(CREDIT);
        } else {
            self.credit -= 1;
        }
        if self.credit == 0 || !is_prompt {
            self.leave(now);
        } else if size.is_some() || self.expected.is_some() {
            self.width = size;
        }
        self.width
    }

    /// Nothing had come for a while, and the window was given up, when this came. `is_late` tells whether the broker had held
    /// it back.
    pub(super) fn interrupted(&mut self, now: Instant, is_late: bool) {
        if is_late {
            let cost = if self.fitted == 0 { FIRST_STALL } else { STALL };
            self.credit = self.credit.saturating_sub(cost);
            // Those who have gone are no longer waited for.
            self.peaks = [self.expected.as_ref().map_or(0, Expected::get); 2];
        }
        match self.width {
            _ if self.credit == 0 => self.leave(now),
            // Where a burst begins shows only when the last has ended.
            _ if self.expected.is_none() => self.width = None,
            // All are still to come, and the first is alone.
            Some(width) if !is_late => self.rest = width,
            _ => {}
        }
    }

    fn try_width(&mut self, size: Option<usize>) {
        self.width = size;
        if size.is_some() && self.credit == 0 {
            self.credit = CREDIT;
            self.fitted = 0;
        }
    }

    /// Messages do not come together, or not as many.
    fn leave(&mut self, now: Instant) {
        if self.fitted >= PROOF {
            self.hold_off = *HOLD_OFF.start();
        }
        self.not_before = now + self.hold_off;
        self.hold_off = (self.hold_off * 4).min(*HOLD_OFF.end());
        self.width = None;
        self.rest = 0;
        self.credit = 0;
    }

    /// The window that would fit now, if that is known.
    fn size(&mut self, batch: &Batch) -> Option<usize> {
        let size = match &self.expected {
            Some(expected) => {
                let expected = expected.get();
                self.batches += 1;
                if self.batches >= ROUND {
                    self.batches = 0;
                    self.peaks = [0, self.peaks[0]];
                }
                self.peaks[0] = self.peaks[0].max(expected);
                self.most_expected()
            }
            None => batch.ended_burst?,
        };
        SIZES.contains(&size).then_some(size)
    }

    fn most_expected(&self) -> usize {
        self.peaks[0].max(self.peaks[1])
    }
}

#[cfg(test)]
mod tests;
