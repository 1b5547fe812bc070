//! A closed load: so many callers, each of which makes its next call when it has the answer to the last.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::Failure;

/// Where a measurement ends: at the number of calls or at the time, whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    pub calls: u64,
    pub time: Duration,
}

impl Bound {
    /// So many calls, however long they take.
    pub fn calls(calls: u64) -> Self {
        Self {
            calls,
            time: Duration::MAX,
        }
    }
}

/// What a measurement gave.
#[derive(Debug)]
pub struct Measured {
    /// From the first call to the last answer.
    pub elapsed: Duration,
    /// Each call's time in nanoseconds.
    pub latencies: Histogram<u64>,
}

impl Measured {
    pub fn calls(&self) -> u64 {
        self.latencies.len()
    }

    pub fn calls_per_s(&self) -> f64 {
        (self.calls() as f64 / self.elapsed.as_secs_f64()).round()
    }

    /// The time in microseconds that this part of the calls did not exceed.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// Makes calls with `concurrency` callers until the bound is reached, and fails with the first call that fails.
///
/// `call` is given the number of the call, which starts from 0.
pub async fn run<F, C>(concurrency: u64, bound: Bound, call: F) -> Result<Measured, Failure>
where
    F: Fn(u64) -> C + Clone + Send + Sync + 'static,
    C: Future<Output = Result<(), Failure>> + Send,
{
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let callers: Vec<_> = (0..concurrency.min(bound.calls))
        .map(|_| {
            let (next, call) = (Arc::clone(&next), call.clone());
            tokio::spawn(async move {
                let mut latencies = histogram();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let called = Instant::now();
                    if number >= bound.calls || called.duration_since(started) >= bound.time {
                        return Ok::<_, Failure>(latencies);
                    }
                    call(number).await?;
                    latencies.saturating_record(nanos(called.elapsed()));
                }
            })
        })
        .collect();

    let mut latencies = histogram();
    for caller in callers {
        latencies.add(caller.await??)?;
    }
    Ok(Measured {
        elapsed: started.elapsed(),
        latencies,
    })
}

/// Nanoseconds up to a minute, to one part in a hundred: small, because each caller has one.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("the bounds are in order")
}

/// Whole nanoseconds, at least one.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}
