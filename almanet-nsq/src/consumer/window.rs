//! How many messages a broker that buffers may send unasked, found from how long messages queue.
//!
//! nsqd writes out what it holds for a subscriber when its buffer is full, when its ticker fires, or when the
//! subscriber is not ready, which is as soon as it has as many messages out as RDY says (`messagePump` in nsqd's
//! `protocol_v2.go`). So the distance from the messages in flight to RDY decides how many messages share one
//! write: with a distance of one each is written at once, with more they wait for each other.

use std::{ops::RangeInclusive, time::Duration};

use tokio::time::Instant;

use super::{
    burst::Batch,
    exact::Exact,
    expected::Expected,
    pace::{Delays, Rate, RoundTrip},
};

/// Messages that queue longer than this are worth a wider window.
const LONG_DELAY: Duration = Duration::from_micros(400);
/// Messages that queue shorter than this gain nothing from the window that they came in.
const SHORT_DELAY: Duration = Duration::from_micros(200);
/// A window that is filled within this time costs nothing that anyone would notice.
const FREE: Duration = Duration::from_micros(250);
/// After this time without a message, the broker may be holding some back,
const QUIET: Duration = Duration::from_millis(1);
/// or after so many round trips, if that is longer: a call needs two for its own way and that of its answer. Measured with 0.2 to 3 ms for a round
/// trip: with two, 4 to 256 calls have 0.3 to 0.9 times as many answers as with four, and with eight mostly fewer too.
const QUIET_TRIPS: u32 = 4;
/// It is not given more time than that. By its default, nsqd holds nothing back for more than 250 ms.
const LONGEST_QUIET: Duration = Duration::from_millis(100);
/// A user who lets messages wait for longer than this,
const SLOW: Duration = Duration::from_millis(10);
/// and that for so long, is sent fewer of them.
const CERTAINLY_SLOW: Duration = Duration::from_millis(30);
/// The first window of a broker that never holds messages back: the most that wait for a user who takes none.
const FIRST_UNBUFFERED: usize = 16;
/// nsqd's default of `--max-rdy-count`, of which no consumer's share is more.
const WIDEST_UNBUFFERED: usize = 2500;
/// More small messages than this do not fit into nsqd's buffer (16 KiB), which is written when it is full.
const WIDEST: usize = 256;
/// Windows up to this width are narrow. Measured: with 4 or less, 16 calls under way are slower, with 16 so are 8.
const NARROW: usize = 8;

/// How many messages in a row have to be late for the first step: one that was late by chance would make the next
/// one late too.
const CERTAIN: u32 = 4;
/// How many full windows in a row it takes to try one that is wider than what has proved good, and to prove it.
const PROOF: u32 = 16;
/// After a window that was too wide, no wider one than has proved good is tried for so long: at first, and at most,
/// which keeps what trying costs (up to two milliseconds) to a few hundredths of the time.
const HOLD_OFF: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(64);

/// How many times messages may come together before one takes it that they never will in step.
const PATIENCE: usize = 8;

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
    /// Whether the broker holds messages back; if not, only the user's pace counts.
    is_buffered: bool,
    /// Since when messages that are taken have waited for the user, and every one of them.
    slow_since: Option<Instant>,
    is_slow: bool,
    narrowed_at: Instant,
    /// Whether the broker has used up its window since the user last took something. Only where it is not buffered.
    is_used_up: bool,
    delays: Delays,
    rate: Rate,
    received_at: Instant,
    /// Since when the broker could have sent something and nothing came.
    quiet_since: Instant,
    /// When the broker, which had used up its window, could send again, if nothing came since.
    reopened_at: Option<Instant>,
    round_trip: RoundTrip,
    /// The width at which nothing came for a while, until it is known whether the broker held something back.
    gave_up: Option<usize>,
    /// The widest window that is known, or hoped, to be filled by the load.
    proved: usize,
    /// Full windows in a row that were not wide enough, at a width that may not simply double.
    streak: u32,
    /// No window that is wider than what has proved good is tried before,
    not_before: Instant,
    /// and after the next that is too wide, not for so long.
    hold_off: Duration,
    /// Messages in a row that came while none was in flight, and did not queue.
    alone: u32,
    exact: Exact,
}

/// What a batch of messages comes upon.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// With it, the broker has used up its window.
    pub(super) is_full: bool,
    /// It is one message, and none was in flight.
    pub(super) is_alone: bool,
    /// Messages are answered as soon as they come.
    pub(super) is_prompt: bool,
}

impl AdaptiveWindow {
    /// The window of a broker that holds messages back; for `expected` see [`Exact`].
    pub(super) fn new(now: Instant, expected: Option<Expected>) -> Self {
        Self {
            width: 1,
            is_buffered: true,
            slow_since: None,
            is_slow: false,
            narrowed_at: now,
            is_used_up: false,
            delays: Delays::new(now),
            rate: Rate::default(),
            received_at: now,
            quiet_since: now,
            reopened_at: None,
            round_trip: RoundTrip::default(),
            gave_up: None,
            proved: WIDEST,
            streak: 0,
            not_before: now,
            hold_off: *HOLD_OFF.start(),
            alone: 0,
            exact: Exact::new(now, expected),
        }
    }

    /// The window of a broker that writes as soon as it has nothing more to send.
    pub(super) fn unbuffered(now: Instant) -> Self {
        Self {
            width: FIRST_UNBUFFERED,
            is_buffered: false,
            ..Self::new(now, None)
        }
    }

    /// How many messages the broker may send beyond those that are in flight.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Counts messages that came.
    pub(super) fn received(&mut self, now: Instant, batch: &Batch, circumstances: Circumstances) {
        let Batch { count, age, .. } = *batch;
        let Circumstances {
            is_full,
            is_alone,
            is_prompt,
        } = circumstances;
        // What waits for the user gains nothing by coming sooner.
        let is_full = is_full && !self.is_slow;
        if !self.is_buffered {
            self.is_used_up |= is_full;
            return;
        }
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
        let mut gave_up = self.gave_up.take();
        let is_late = delay.is_some_and(|delay| delay >= self.quiet());
        if let Some(reopened_at) = self.reopened_at.take()
            && gave_up.is_none()
        {
            // What was published after that says nothing.
            let passed = now.duration_since(reopened_at);
            if delay.is_none_or(|delay| delay >= passed) {
                self.round_trip.took(passed);
            }
        }
        if self.exact.is_known() && gave_up.take().is_some() {
            self.exact.interrupted(now, is_late);
        }
        let is_dense = self.rate.within(self.quiet()) >= 1;
        if self.width <= Exact::widest()
            && let Some(width) = self.exact.received(now, batch, is_prompt, is_dense)
        {
            self.width = width;
            self.streak = 0;
            return;
        }
        let hope = is_prompt.then(|| self.exact.hope(batch)).flatten();
        // As many messages wait as come within the time that one waits (Little's law): here one, half of the time.
        let is_crowded = self.rate.within(2 * self.delays.mean()) >= 1;
        let is_certain = is_crowded || self.alone == 0;
        let free = self.rate.within(FREE);
        match (gave_up, delay) {
            (Some(width), _) if is_late => self.too_wide(now, width, hope.is_some()),
            // They may be about to fall into step, and any other window would disturb that.
            _ if is_full && hope.is_some_and(|hope| self.is_patient(hope)) => self.streak += 1,
            // A queue that is always there delays all messages alike, and that shows in no age. So messages that come
            // fast and alone are tried with a wider window too, but not as soon.
            _ if is_full && self.width < free => self.too_narrow(now, is_certain),
            (_, Some(delay)) if is_full && delay > LONG_DELAY => self.too_narrow(now, true),
            // Of a backlog that is worked off, all there is to know is that there is one.
            (_, None) if is_full => self.too_narrow(now, true),
            (_, Some(delay)) if delay < SHORT_DELAY => {
                // Half as wide would still not be too narrow for what comes.
                if self.width / 2 >= free.max(1) {
                    self.width /= 2;
                }
                self.streak = 0;
            }
            _ => {}
        }
    }

    /// Messages queue although the broker sends as many as it may.
    fn too_narrow(&mut self, now: Instant, is_certain: bool) {
        self.streak += 1;
        if self.width > self.proved && self.streak >= PROOF {
            self.proved = self.width;
            self.hold_off = *HOLD_OFF.start();
        }
        let is_enough = match self.width {
            width if width >= self.proved || !is_certain => self.streak >= PROOF && now >= self.not_before,
            1 => self.streak >= CERTAIN,
            _ => true,
        };
        if is_enough {
            self.width = (self.width * 2).min(WIDEST);
            self.streak = 0;
        }
    }

    /// Whether a window waits before it grows, for `hope` messages to come together again and again.
    fn is_patient(&self, hope: usize) -> bool {
        self.width <= NARROW && (self.streak as usize) < PATIENCE * hope
    }

    /// The broker held messages back because there were too few of them for a window of this width.
    fn too_wide(&mut self, now: Instant, width: usize, has_hope: bool) {
        self.not_before = now + self.hold_off;
        if width > self.proved {
            self.hold_off = (self.hold_off * 4).min(*HOLD_OFF.end());
        }
        // Who finds into step goes on from there; and who does not must not disturb the others by each window between.
        self.proved = if has_hope { 1 } else { (width / 2).max(1) };
        self.width = self.proved;
        self.streak = 0;
    }

    /// The user has taken a message, which had `waited` for that.
    pub(super) fn taken(&mut self, now: Instant, waited: Duration) {
        self.slow_since = Self::is_slow(waited).then(|| self.slow_since.unwrap_or(now));
        // A process that has to wait for its turn on a busy machine looks slow too, but not for long.
        self.is_slow = self
            .slow_since
            .is_some_and(|since| now.duration_since(since) >= CERTAINLY_SLOW);
        // All that waited with it say the same.
        if self.is_slow && now.duration_since(self.narrowed_at) >= SLOW {
            self.narrowed_at = now;
            self.width = (self.width / 2).max(1);
        }
        if std::mem::take(&mut self.is_used_up) && !self.is_slow {
            self.width = (self.width * 2).min(WIDEST_UNBUFFERED);
        }
    }

    /// Whether it matters when the user takes the last message that is there.
    pub(super) fn watches(&self) -> bool {
        self.slow_since.is_some() || self.is_used_up
    }

    /// Whether a message that `waited` for so long should have been sent later, or elsewhere.
    pub(super) fn is_slow(waited: Duration) -> bool {
        waited > SLOW
    }

    /// Whether messages come one at a time, so that the next comes only after the answer to the last.
    ///
    /// Then an RDY that makes room for another while one is in flight is a write for nothing.
    pub(super) fn takes_turns(&self) -> bool {
        self.is_buffered && self.width == 1 && self.alone > TRIED
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

    /// Whether it is so narrow that one message more or less in it decides whether the load fills it.
    pub(super) fn is_narrow(&self) -> bool {
        self.is_buffered && (self.width <= NARROW || self.is_exact())
    }

    /// Whether it is for exactly as many messages as come together.
    pub(super) fn is_exact(&self) -> bool {
        self.exact.is_known()
    }

    /// The broker, which had used up its window, may send again.
    pub(super) fn reopened(&mut self, now: Instant) {
        self.quiet_since = now;
        self.reopened_at = Some(now);
    }

    /// After how long without a message the broker may be holding some back.
    fn quiet(&self) -> Duration {
        // When all are to come together for the first time, they are answered one by one, as far away.
        let round_trips = if self.exact.is_on_trial() {
            (2 * self.width as u32).max(QUIET_TRIPS)
        } else {
            QUIET_TRIPS
        };
        (self.round_trip.mean() * round_trips).clamp(QUIET, LONGEST_QUIET)
    }

    /// When to look whether the broker holds messages back; `None` while it cannot.
    pub(super) fn quiet_at(&self) -> Option<Instant> {
        (self.is_buffered && self.width > 1).then(|| self.quiet_since + self.quiet())
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
mod tests;
