//! The heart of a connection: when to send a heartbeat, and when the client counts as dead.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

use crate::channel::after;

/// What a beat asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// Send a heartbeat.
    Send,
    /// No command came for two intervals: end the connection.
    Dead,
}

/// The heartbeats of one client.
#[derive(Debug)]
pub(super) struct Pulse {
    /// `None` when the client wants no heartbeats; then it never counts as dead.
    interval: Option<Duration>,
    next_beat: Instant,
    last_command: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Pulse {
    pub(super) fn new(interval: Option<Duration>) -> Self {
        let now = Instant::now();
        let mut pulse = Self {
            interval,
            next_beat: now,
            last_command: now,
            sleep: Box::pin(sleep_until(now.into())),
        };
        pulse.restart(interval, now);
        pulse
    }

    /// Notes that the client sent a command at `now`, and the interval that holds from then on.
    pub(super) fn command(&mut self, interval: Option<Duration>, now: Instant) {
        self.last_command = now;
        if interval != self.interval {
            self.restart(interval, now);
        }
    }

    fn restart(&mut self, interval: Option<Duration>, now: Instant) {
        self.interval = interval;
        if let Some(interval) = interval {
            self.next_beat = after(now, interval);
            self.arm();
        }
    }

    /// Waits for the next beat.
    ///
    /// # Cancel safety
    ///
    /// No beat is lost when the future is dropped.
    pub(super) async fn beat(&mut self) -> Beat {
        let Some(interval) = self.interval else {
            return std::future::pending().await;
        };
        loop {
            self.sleep.as_mut().await;
            let now = Instant::now();
            if now >= self.death() {
                return Beat::Dead;
            }
            if now >= self.next_beat {
                self.next_beat = after(now, interval);
                self.arm();
                return Beat::Send;
            }
            self.arm();
        }
    }

    /// nsqd's read deadline: two intervals after the last command.
    fn death(&self) -> Instant {
        after(self.last_command, self.interval.unwrap_or_default() * 2)
    }

    fn arm(&mut self) {
        let at = self.next_beat.min(self.death());
        self.sleep.as_mut().reset(at.into());
    }
}
