//! Where what comes in is run: at once, or in a task of its own.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::poll_immediate};
use tokio::task::coop;
use tokio_util::task::TaskTracker;

/// What is over sooner than this is run where it came in: a task would cost about as much as the run.
const QUICK: Duration = Duration::from_micros(20);
/// How much longer than that timed runs may take, all together. A thread that has to wait for its processor looks slow too, but
/// not again and again.
const TOLERANCE: Duration = Duration::from_millis(10);
/// One run of so many is timed.
const ONE_OF: u32 = 4;
/// For how long everything has a task after that: at first, and at most.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(10);
/// After so many timed runs without that, it is an exception again.
const USUAL: u32 = 250;

/// Runs what comes in on one subscription.
///
/// A run goes up to its first wait where it came in, and goes on in a task. Most end before they wait, and then there is no
/// task to be made, woken and freed. Runs that keep the processor for long would keep the next from beginning, though,
/// while other processors may be free; so where they do, each run has a task from the start, for a while.
#[derive(Debug)]
pub(crate) struct Runner {
    tasks: TaskTracker,
    /// By how much runs took longer than they should, less what others were quicker.
    excess: Duration,
    in_tasks_until: Option<Instant>,
    /// For how long everything will have a task the next time.
    pause: Duration,
    /// Timed runs since the last time.
    runs: u32,
    /// Runs since the last that was timed.
    untimed: u32,
}

impl Runner {
    pub(crate) fn new() -> Self {
        Self {
            tasks: TaskTracker::new(),
            excess: Duration::ZERO,
            in_tasks_until: None,
            pause: SHORTEST,
            runs: 0,
            untimed: 0,
        }
    }

    /// Runs `run`, at least up to its first wait or as a task. A panic in it ends this run alone.
    pub(crate) async fn run(&mut self, run: impl Future<Output = ()> + Send + 'static) {
        if let Some(until) = self.in_tasks_until {
            if Instant::now() < until {
                self.tasks.spawn(run);
                return;
            }
            self.in_tasks_until = None;
        }
        let begun = self.is_timed().then(Instant::now);
        let mut run = Box::pin(AssertUnwindSafe(run).catch_unwind());
        let ended = poll_immediate(&mut run).await;
        if let Some(begun) = begun {
            self.took(begun, Instant::now());
        }
        match ended {
            None => {
                self.tasks.spawn(run);
            }
            Some(Ok(())) => {}
            Some(Err(_)) => tracing::error!("a run panicked outside of its handler"),
        }
        // A subscription that always has a next message would let nothing else of this thread run.
        coop::consume_budget().await;
    }

    /// Whether the next run is one of those that are timed: reading the clock for each would be a cost of its own.
    fn is_timed(&mut self) -> bool {
        self.untimed = (self.untimed + 1) % ONE_OF;
        self.untimed == 0
    }

    fn took(&mut self, begun: Instant, ended: Instant) {
        self.excess = (self.excess + ended.duration_since(begun)).saturating_sub(QUICK);
        self.runs = self.runs.saturating_add(1);
        if self.runs >= USUAL {
            self.pause = SHORTEST;
        }
        if self.excess > TOLERANCE {
            self.excess = Duration::ZERO;
            self.runs = 0;
            self.in_tasks_until = ended.checked_add(self.pause);
            self.pause = (self.pause * 4).min(LONGEST);
        }
    }

    /// What runs still, to be waited for: nothing more comes.
    pub(crate) fn into_tasks(self) -> TaskTracker {
        self.tasks.close();
        self.tasks
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use tokio::{sync::Notify, task::yield_now};

    use super::*;

    #[tokio::test]
    async fn what_does_not_wait_is_over_at_once_and_what_waits_goes_on_in_a_task() {
        let mut runner = Runner::new();
        let (ended, released) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        for waits in [false, true] {
            let (ended, released) = (Arc::clone(&ended), Arc::clone(&released));
            runner
                .run(async move {
                    if waits {
                        released.notified().await;
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                })
                .await;
        }
        assert_eq!(ended.load(Ordering::Relaxed), 1);
        let tasks = runner.into_tasks();
        assert_eq!(tasks.len(), 1);
        released.notify_one();
        tasks.wait().await;
        assert_eq!(ended.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_panic_ends_one_run() {
        let mut runner = Runner::new();
        runner.run(async { panic!("expected") }).await;
        runner.run(async { yield_now().await }).await;
        runner.into_tasks().wait().await;
    }

    /// How long everything has a task after `took`.
    fn pause(runner: &mut Runner, took: Duration) -> Option<Duration> {
        let begun = Instant::now();
        runner.in_tasks_until = None;
        runner.took(begun, begun + took);
        Some(runner.in_tasks_until?.duration_since(begun + took))
    }

    #[test]
    fn runs_that_take_long_get_tasks_for_longer_and_longer_until_they_are_rare() {
        let mut runner = Runner::new();
        let long = TOLERANCE + 2 * QUICK;
        let pauses: Vec<_> = (0..7)
            .map(|_| pause(&mut runner, long).unwrap().as_millis())
            .collect();
        assert_eq!(pauses, [10, 40, 160, 640, 2560, 10_000, 10_000]);
        for _ in 0..USUAL {
            assert_eq!(pause(&mut runner, QUICK / 2), None);
        }
        assert_eq!(pause(&mut runner, long), Some(SHORTEST));
    }

    #[test]
    fn many_that_take_a_little_too_long_count_as_one_that_takes_long_and_a_rare_one_does_not() {
        let mut runner = Runner::new();
        let runs = (1..).find(|_| pause(&mut runner, 5 * QUICK).is_some());
        assert_eq!(runs, Some(126));
        for number in 0..10_000 {
            let took = if number % 1000 == 0 {
                TOLERANCE / 2
            } else {
                QUICK / 2
            };
            assert_eq!(pause(&mut runner, took), None);
        }
    }
}
