//! Whether messages are asked for at all, by how the last ones fared.
//!
//! These are the rules of NSQ's client guide ("Backoff"): on a failure nothing is asked for during a pause, then one
//! message as a probe, whose fate decides whether the next pause is longer or shorter.

use std::{ops::RangeInclusive, time::Duration};

use tokio::time::Instant;

/// No pause is shorter, or a handler that fails at once would be fed in a busy loop.
const SHORTEST: Duration = Duration::from_millis(1);

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Finished,
    Failed,
    /// It goes elsewhere, which says nothing about how messages fare here.
    Returned,
}

/// How much may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// As much as there is room for.
    Open,
    /// Nothing, until then.
    Paused(Instant),
    /// One message.
    Probing,
}

/// Asks for less while messages fail. It knows no clock: whoever calls says what time it is.
#[derive(Debug)]
pub(super) struct Backoff {
    shortest: Duration,
    longest: Duration,
    phase: Phase,
    /// How many more messages failed than were finished, as far as pauses followed from it.
    level: u32,
    /// Counts the phases. Messages that came in an earlier one say nothing about this one.
    round: u32,
}

impl Backoff {
    pub(super) fn new(pauses: &RangeInclusive<Duration>) -> Self {
        let shortest = (*pauses.start()).max(SHORTEST);
        Self {
            shortest,
            longest: (*pauses.end()).max(shortest),
            phase: Phase::Open,
            level: 0,
            round: 0,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn level(&self) -> u32 {
        self.level
    }

    /// Names the present phase, for the messages that come in it.
    pub(super) fn round(&self) -> u32 {
        self.round
    }

    /// A message that came in `round` was answered. Returns whether that changes the phase.
    ///
    /// `chance`, from 0 to 1, decides how much shorter than it could be a pause is.
    pub(super) fn answered(&mut self, now: Instant, round: u32, fate: Fate, chance: f64) -> bool {
        if round != self.round {
            return false;
        }
        match (self.phase, fate) {
            (Phase::Open, Fate::Failed) => self.level = 1,
            (Phase::Probing, Fate::Failed) if self.whole_pause() < self.longest => self.level += 1,
            (Phase::Probing, Fate::Failed | Fate::Returned) => {}
            (Phase::Probing, Fate::Finished) => self.level = self.level.saturating_sub(1),
            (Phase::Open | Phase::Paused(_), _) => return false,
        }
        let pause = self.whole_pause().mul_f64(1.0 - 0.5 * chance.clamp(0.0, 1.0));
        self.enter(match self.level {
            0 => Phase::Open,
            _ => Phase::Paused(now + pause),
        });
        true
    }

    /// Ends a pause whose time has come.
    pub(super) fn tick(&mut self, now: Instant) {
        if let Phase::Paused(until) = self.phase
            && until <= now
        {
            self.enter(Phase::Probing);
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.round = self.round.wrapping_add(1);
    }

    fn whole_pause(&self) -> Duration {
        let doublings = self.level.saturating_sub(1);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.shortest.saturating_mul(factor).min(self.longest)
    }
}

#[cfg(test)]
mod tests;
