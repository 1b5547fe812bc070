//! Where what comes in is run: at once, or in a task of its own.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{sync::Semaphore, task::coop};
use tokio_util::{sync::ReusableBoxFuture, task::TaskTracker};

/// What is over sooner than this is run where it came in: a task would cost about as much as the run.
const QUICK: Duration = Duration::from_micros(20);
/// How much longer than that timed runs may take, all together. A thread that has to wait for its processor looks slow too, but
/// not again and again.
const TOLERANCE: Duration = Duration::from_millis(10);
/// One run of so many is timed, and each after one that took long.
const ONE_OF: u32 = 16;
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
    /// What tasks hold, where only so many runs may be under way at once.
    places: Option<Arc<Semaphore>>,
    /// The memory of a run that is over, for the next one.
    spare: Option<Boxed>,
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

/// A run, and whether it panicked.
type Boxed = ReusableBoxFuture<'static, thread::Result<()>>;

impl Runner {
    /// As many runs at once as come in.
    pub(crate) fn unlimited() -> Self {
        Self::new(None)
    }

    /// At most `runs` at once: the next one comes after [`room`](Self::room).
    pub(crate) fn limited(runs: usize) -> Self {
        let places = Semaphore::new(runs.min(Semaphore::MAX_PERMITS));
        Self::new(Some(Arc::new(places)))
    }

    fn new(places: Option<Arc<Semaphore>>) -> Self {
        Self {
            tasks: TaskTracker::new(),
            places,
            spare: None,
            excess: Duration::ZERO,
            in_tasks_until: None,
            pause: SHORTEST,
            runs: 0,
            untimed: 0,
        }
    }

    /// Whether one more run may be under way.
    pub(crate) fn has_room(&self) -> bool {
        self.places
            .as_ref()
            .is_none_or(|places| places.available_permits() > 0)
    }

    /// Waits until one more run may be under way.
    pub(crate) async fn room(&self) {
        if let Some(places) = &self.places
            && !self.has_room()
        {
            // It is taken again by the run, if that becomes a task. Nobody else takes any.
            drop(places.acquire().await);
        }
    }

    /// Runs `run`, at least up to its first wait or as a task. A panic in it ends this run alone.
    ///
    /// It is to be followed by [`pause`](Self::pause). This is no future itself: `run` is large, and would be copied into that first.
    #[inline]
    pub(crate) fn run(&mut self, run: impl Future<Output = ()> + Send + 'static) {
        let run = AssertUnwindSafe(run).catch_unwind();
        let mut boxed = match self.spare.take() {
            Some(mut boxed) => {
                boxed.set(run);
                boxed
            }
            None => ReusableBoxFuture::new(run),
        };
        if self.gives_tasks() {
            return self.go_on(boxed);
        }
        let begun = self.is_timed().then(Instant::now);
        // Whoever has it polled again is its task, which does so first of all.
        let ended = boxed.poll(&mut Context::from_waker(Waker::noop()));
        if let Some(begun) = begun {
            self.took(begun, Instant::now());
        }
        match ended {
            Poll::Pending => self.go_on(boxed),
            Poll::Ready(outcome) => {
                seen(outcome);
                self.spare = Some(boxed);
            }
        }
    }

    /// As [`run`](Self::run), for what can begin as a function: it goes as far as it can without waiting, and what it returns is
    /// left to do in a task. So what does not wait is never put into a future.
    ///
    /// It is for what need not [have a task](Self::gives_tasks) from the start, and whoever calls it lets others run by itself.
    #[inline]
    pub(crate) fn begin<R>(&mut self, begin: impl FnOnce() -> Option<R>)
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let begun = self.is_timed().then(Instant::now);
        let rest = catch_unwind(AssertUnwindSafe(begin));
        if let Some(begun) = begun {
            self.took(begun, Instant::now());
        }
        match rest {
            Ok(None) => {}
            Ok(Some(rest)) => self.spawn(rest),
            Err(panic) => seen(Err(panic)),
        }
    }

    /// Runs `run` as a task. A panic in it ends this run alone.
    pub(crate) fn spawn(&self, run: impl Future<Output = ()> + Send + 'static) {
        self.go_on(AssertUnwindSafe(run).catch_unwind());
    }

    fn go_on(&self, run: impl Future<Output = thread::Result<()>> + Send + 'static) {
        // There is one: whoever runs something has waited for room.
        let place = self
            .places
            .as_ref()
            .map(|places| Arc::clone(places).try_acquire_owned());
        self.tasks.spawn(async move {
            let _place = place;
            seen(run.await);
        });
    }

    /// Lets others run, if it is time: a subscription that always has a next message would let nothing else of this thread run.
    pub(crate) async fn pause(&self) {
        coop::consume_budget().await;
    }

    /// Whether runs have a task from the start for now.
    pub(crate) fn gives_tasks(&mut self) -> bool {
        let Some(until) = self.in_tasks_until else {
            return false;
        };
        if Instant::now() < until {
            return true;
        }
        self.in_tasks_until = None;
        false
    }

    /// Whether the next run is one of those that are timed: reading the clock for each would be a cost of its own.
    fn is_timed(&mut self) -> bool {
        self.untimed = (self.untimed + 1) % ONE_OF;
        self.untimed == 0 || !self.excess.is_zero()
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

fn seen(outcome: thread::Result<()>) {
    if outcome.is_err() {
        tracing::error!("a run panicked outside of its handler");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Ready,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
    };

    use tokio::{sync::Notify, task::yield_now};

    use super::*;

    #[tokio::test]
    async fn what_does_not_wait_is_over_at_once_and_what_waits_goes_on_in_a_task() {
        let mut runner = Runner::unlimited();
        let (ended, released) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        for waits in [false, true] {
            let (ended, released) = (Arc::clone(&ended), Arc::clone(&released));
            runner.run(async move {
                if waits {
                    released.notified().await;
                }
                ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        assert_eq!(ended.load(Ordering::Relaxed), 1);
        let tasks = runner.into_tasks();
        assert_eq!(tasks.len(), 1);
        released.notify_one();
        tasks.wait().await;
        assert_eq!(ended.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_begins_as_a_function_has_a_task_for_what_it_leaves() {
        let mut runner = Runner::limited(1);
        let (ended, released) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        runner.begin(|| {
            ended.fetch_add(1, Ordering::Relaxed);
            None::<Ready<()>>
        });
        assert_eq!((ended.load(Ordering::Relaxed), runner.has_room()), (1, true));
        runner.begin(|| {
            let (ended, released) = (Arc::clone(&ended), Arc::clone(&released));
            Some(async move {
                released.notified().await;
                ended.fetch_add(1, Ordering::Relaxed);
            })
        });
        assert_eq!((ended.load(Ordering::Relaxed), runner.has_room()), (1, false));
        released.notify_one();
        runner.room().await;
        runner.into_tasks().wait().await;
        assert_eq!(ended.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_panic_ends_one_run() {
        let mut runner = Runner::limited(2);
        runner.run(async { panic!("expected") });
        runner.begin(|| -> Option<Ready<()>> { panic!("expected") });
        runner.begin(|| Some(async { panic!("expected") }));
        runner.room().await;
        runner.run(async { yield_now().await });
        runner.into_tasks().wait().await;
    }

    #[test]
    fn one_of_many_runs_is_timed_and_each_after_one_that_took_long() {
        let mut runner = Runner::unlimited();
        let timed = |runner: &mut Runner| (0..10 * ONE_OF).filter(|_| runner.is_timed()).count();
        assert_eq!(timed(&mut runner), 10);
        pause(&mut runner, TOLERANCE / 2);
        assert_eq!(timed(&mut runner), 10 * ONE_OF as usize);
        while !runner.excess.is_zero() {
            pause(&mut runner, QUICK / 2);
        }
        assert_eq!(timed(&mut runner), 10);
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
        let mut runner = Runner::unlimited();
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
        let mut runner = Runner::unlimited();
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
