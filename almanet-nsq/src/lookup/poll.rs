//! Asks every nsqlookupd, merges the answers, waits, asks again.

use std::{
    iter::{once, repeat_with},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{sync::watch, time::sleep};
use tracing::info;

use super::{error::LookupError, known::Known, lookupd::Lookupd};

/// By what part of the interval a wait may be shorter or longer.
const JITTER: f64 = 0.3;

/// What is asked for, of whom, and what is known so far.
#[derive(Debug)]
pub(super) struct Poll {
    pub(super) lookupds: Vec<Lookupd>,
    pub(super) path: String,
    pub(super) interval: Duration,
    pub(super) known: Known,
}

impl Poll {
    /// Asks everybody at once. Fails when nobody answers.
    pub(super) async fn ask(&mut self) -> Result<(), LookupError> {
        let asking = self.lookupds.iter_mut().map(|lookupd| lookupd.nodes(&self.path));
        let mut answers = Vec::new();
        let mut errors = Vec::new();
        for answer in join_all(asking).await {
            match answer {
                Ok(nodes) => answers.push(nodes),
                Err(error) => errors.push(error),
            }
        }
        if answers.is_empty() {
            return Err(LookupError::NoneAnswered(errors));
        }
        self.known.update(answers);
        Ok(())
    }

    /// Asks for ever, and tells whoever watches when the nodes change.
    pub(super) async fn run(mut self, nodes: watch::Sender<Arc<[Arc<str>]>>) {
        for wait in waits(self.interval) {
            sleep(wait).await;
            // Who failed and why is in the log already; what is known stays.
            if self.ask().await.is_ok() {
                let known = self.known.nodes();
                nodes.send_if_modified(|nodes| {
                    let is_changed = *nodes != known;
                    if is_changed {
                        info!(path = self.path, before = ?nodes, now = ?known, "nsqlookupd lists other nodes");
                        *nodes = known;
                    }
                    is_changed
                });
            }
        }
    }
}

/// How long to wait before each poll after the one at the start, without an end.
fn waits(interval: Duration) -> impl Iterator<Item = Duration> {
    let first = first_wait(interval, fastrand::f64());
    once(first).chain(repeat_with(move || next_wait(interval, fastrand::f64())))
}

/// The wait after the first poll; `chance` is from 0 to 1.
fn first_wait(interval: Duration, chance: f64) -> Duration {
    interval.mul_f64(chance)
}

/// The longest wait between two polls.
pub(super) fn longest_wait(interval: Duration) -> Duration {
    next_wait(interval, 1.0)
}

/// Every other wait; `chance` is from 0 to 1.
fn next_wait(interval: Duration, chance: f64) -> Duration {
    interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_first_wait_is_anything_up_to_the_interval() {
        assert_eq!(first_wait(MINUTE, 0.0), Duration::ZERO);
        assert_eq!(first_wait(MINUTE, 1.0), MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn consumers_that_start_together_do_not_ask_at_the_same_times() {
        // When each of them asks, by one clock.
        let asking = (0..20).map(|_| async {
            let begun = Instant::now();
            let mut asked = Vec::new();
            for wait in waits(MINUTE).take(50) {
                sleep(wait).await;
                asked.push(begun.elapsed());
            }
            asked
        });
        let mut times: Vec<Duration> = join_all(asking).await.into_iter().flatten().collect();
        times.sort();
        // In the half hour in which all of them ask, no second has more than a few of about twenty a minute.
        for second in 0..30 * 60 {
            let second = Duration::from_secs(second);
            let within = |time: &&Duration| (second..second + Duration::from_secs(1)).contains(*time);
            let count = times.iter().filter(within).count();
            assert!(count <= 7, "{count} of 20 ask in the second after {second:?}");
        }
    }

    #[test]
    fn those_who_once_ask_together_part_again() {
        let mut further: Vec<Duration> = waits(MINUTE).skip(1).take(1000).collect();
        further.sort();
        // Of 36 seconds, each tenth has its share of a hundred, more or less.
        let (shortest, tenth) = (next_wait(MINUTE, 0.0), MINUTE.mul_f64(2.0 * JITTER / 10.0));
        for begin in (0..10).map(|number| shortest + tenth * number) {
            let within = |wait: &&Duration| (begin..begin + tenth).contains(*wait);
            let count = further.iter().filter(within).count();
            assert!(
                (40..200).contains(&count),
                "{count} of 1000 within {tenth:?} of {begin:?}"
            );
        }
    }

    #[test]
    fn further_waits_differ_from_the_interval_by_thirty_percent_at_most() {
        let seconds = |chance| next_wait(MINUTE, chance).as_secs_f64();
        for (chance, expected) in [(0.0, 42.0), (0.5, 60.0), (1.0, 78.0)] {
            assert!((seconds(chance) - expected).abs() < 1e-6, "{}", seconds(chance));
        }
    }
}
