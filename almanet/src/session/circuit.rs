//! Procedures that fail again and again are left alone for a while.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{telemetry, uri::Uri};

/// How many procedures a session keeps circuits for; calls of others go out as if there were none.
const MAX_CIRCUITS: usize = 10_000;

/// When a session stops calling a procedure that fails, and when it tries again.
///
/// Given to [`SessionBuilder::circuit_breaker`](crate::SessionBuilder::circuit_breaker); a session has none by default.
/// Each procedure has a circuit of its own. It opens when enough of the latest calls failed: then calls end at once with
/// [`CallError::CircuitOpen`](crate::CallError::CircuitOpen), without being sent. After a while it is half open: one
/// call goes out, and closes the circuit if it succeeds or opens it again if it fails.
///
/// A call fails when it has no answer (timeout, lost node, nothing published), when the instance had too much to do, and
/// when the procedure failed unexpectedly. An error that the procedure returned is an answer.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example() -> Result<(), almanet::ConnectError> {
/// use almanet::{CircuitBreaker, Session};
///
/// let session = Session::builder()
///     .address("127.0.0.1:4150")
///     .circuit_breaker(CircuitBreaker::default().open_for(Duration::from_secs(10)))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBreaker {
    failures: u32,
    calls: u32,
    window: Duration,
    open_for: Duration,
}

impl Default for CircuitBreaker {
    /// Opens for 5 seconds when half of at least 20 calls failed within 10 seconds.
    fn default() -> Self {
        Self {
            failures: 50,
            // Fewer tell nothing: one failure of two calls is half of them.
            calls: 20,
            window: Duration::from_secs(10),
            open_for: Duration::from_secs(5),
        }
    }
}

impl CircuitBreaker {
    /// How many of a hundred calls must fail, between 1 and 100.
    #[must_use]
    pub fn failure_percent(mut self, percent: u32) -> Self {
        self.failures = percent.clamp(1, 100);
        self
    }

    /// How many calls there must be before the circuit can open, at least 1.
    #[must_use]
    pub fn least_calls(mut self, calls: u32) -> Self {
        self.calls = calls.max(1);
        self
    }

    /// For how long calls count, at least; at most twice as long.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How long the circuit stays open before a call is tried.
    #[must_use]
    pub fn open_for(mut self, time: Duration) -> Self {
        // No program runs longer than that, and clocks can count it.
        self.open_for = time.min(Duration::from_secs(365 * 86400));
        self
    }
}

/// The state of one procedure's circuit, as [`Session::circuit`](crate::Session::circuit) shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CircuitState {
    /// Calls go out.
    Closed,
    /// Calls end at once.
    Open {
        /// For how long from now.
        remaining: Duration,
    },
    /// The next call goes out and decides, or is under way.
    HalfOpen,
}

impl fmt::Display for CircuitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half open",
        })
    }
}

/// The circuits of one session.
#[derive(Debug)]
pub(super) struct Circuits {
    breaker: CircuitBreaker,
    by_procedure: Mutex<HashMap<Uri, Circuit>>,
}

#[derive(Debug, Clone, Copy)]
enum Circuit {
    Closed {
        since: Instant,
        current: Tally,
        previous: Tally,
    },
    Open {
        until: Instant,
    },
    /// One call is out to find out.
    Trying,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    calls: u32,
    failures: u32,
}

impl Circuit {
    fn closed(now: Instant) -> Self {
        Self::Closed {
            since: now,
            current: Tally::default(),
            previous: Tally::default(),
        }
    }

    /// Counts a call that ended; whether the circuit has opened by it.
    fn count(&mut self, breaker: &CircuitBreaker, now: Instant, failed: bool) -> bool {
        let opens = match self {
            Self::Closed {
                since,
                current,
                previous,
            } => {
                let passed = now.duration_since(*since);
                if passed >= breaker.window {
                    let is_recent = passed < breaker.window.saturating_mul(2);
                    *previous = if is_recent { *current } else { Tally::default() };
                    *current = Tally::default();
                    *since = now;
                }
                current.calls = current.calls.saturating_add(1);
                current.failures = current.failures.saturating_add(u32::from(failed));
                let calls = u64::from(current.calls) + u64::from(previous.calls);
                let failures = u64::from(current.failures) + u64::from(previous.failures);
                failed
                    && calls >= u64::from(breaker.calls)
                    && failures * 100 >= calls * u64::from(breaker.failures)
            }
            Self::Trying => failed,
            // A call that was sent before the circuit opened.
            Self::Open { .. } => return false,
        };
        if opens {
            *self = Self::Open {
                until: now.checked_add(breaker.open_for).unwrap_or(now),
            };
        } else if matches!(self, Self::Trying) {
            *self = Self::closed(now);
        }
        opens
    }
}

impl Circuits {
    pub(super) fn new(breaker: CircuitBreaker) -> Self {
        Self {
            breaker,
            by_procedure: Mutex::default(),
        }
    }

    /// Lets a call out, or says how long none will be.
    pub(super) fn admit(self: &Arc<Self>, procedure: &Uri) -> Result<Admitted, Duration> {
        let now = Instant::now();
        let mut circuits = self.circuits();
        let decides = match circuits.get_mut(procedure) {
            Some(Circuit::Open { until }) if now < *until => return Err(until.duration_since(now)),
            Some(Circuit::Trying) => return Err(Duration::ZERO),
            Some(circuit @ Circuit::Open { .. }) => {
                *circuit = Circuit::Trying;
                telemetry::circuit(procedure, 1);
                true
            }
            Some(Circuit::Closed { .. }) | None => false,
        };
        Ok(Admitted {
            circuits: Arc::clone(self),
            procedure: procedure.clone(),
            decides,
        })
    }

    pub(super) fn state(&self, procedure: &Uri) -> CircuitState {
        let now = Instant::now();
        match self.circuits().get(procedure) {
            Some(Circuit::Open { until }) if now < *until => CircuitState::Open {
                remaining: until.duration_since(now),
            },
            Some(Circuit::Open { .. } | Circuit::Trying) => CircuitState::HalfOpen,
            Some(Circuit::Closed { .. }) | None => CircuitState::Closed,
        }
    }

    fn count(&self, procedure: &Uri, failed: bool) {
        let now = Instant::now();
        let mut circuits = self.circuits();
        if circuits.len() >= MAX_CIRCUITS && !circuits.contains_key(procedure) {
            return;
        }
        let circuit = circuits
            .entry(procedure.clone())
            .or_insert_with(|| Circuit::closed(now));
        let decided = matches!(circuit, Circuit::Trying);
        if circuit.count(&self.breaker, now, failed) {
            telemetry::circuit(procedure, 2);
            drop(circuits);
            tracing::warn!(%procedure, open_for = ?self.breaker.open_for, "too many calls failed: the circuit is open");
        } else if decided {
            telemetry::circuit(procedure, 0);
        }
    }

    fn circuits(&self) -> MutexGuard<'_, HashMap<Uri, Circuit>> {
        self.by_procedure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that was let out.
#[derive(Debug)]
pub(super) struct Admitted {
    circuits: Arc<Circuits>,
    procedure: Uri,
    /// Whether the circuit waits for this call.
    decides: bool,
}

impl Admitted {
    /// The call has ended.
    pub(super) fn ended(mut self, failed: bool) {
        self.decides = false;
        self.circuits.count(&self.procedure, failed);
    }
}

impl Drop for Admitted {
    /// A call that was given up decides nothing: the next one does.
    fn drop(&mut self) {
        if self.decides {
            let until = Instant::now();
            if let Some(circuit @ Circuit::Trying) = self.circuits.circuits().get_mut(&self.procedure) {
                *circuit = Circuit::Open { until };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn circuits() -> (Arc<Circuits>, Uri) {
        let breaker = CircuitBreaker::default().least_calls(4).open_for(SECOND);
        (Arc::new(Circuits::new(breaker)), Uri::new("net.example").unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_the_calls_open_it_and_one_that_succeeds_closes_it() {
        let (circuits, uri) = circuits();
        for failed in [false, false, true, true] {
            assert_eq!(circuits.state(&uri), CircuitState::Closed);
            circuits.admit(&uri).unwrap().ended(failed);
        }
        assert_eq!(circuits.state(&uri), CircuitState::Open { remaining: SECOND });
        assert_eq!(circuits.admit(&uri).unwrap_err(), SECOND);

        tokio::time::advance(SECOND).await;
        assert_eq!(circuits.state(&uri), CircuitState::HalfOpen);
        let trying = circuits.admit(&uri).unwrap();
        assert!(circuits.admit(&uri).is_err(), "one call decides");
        trying.ended(true);
        assert_eq!(circuits.state(&uri), CircuitState::Open { remaining: SECOND });

        tokio::time::advance(SECOND).await;
        drop(circuits.admit(&uri).unwrap());
        circuits.admit(&uri).unwrap().ended(false);
        assert_eq!(circuits.state(&uri), CircuitState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_of_long_ago_do_not_count() {
        let (circuits, uri) = circuits();
        for _ in 0..3 {
            circuits.admit(&uri).unwrap().ended(true);
        }
        tokio::time::advance(20 * SECOND).await;
        circuits.admit(&uri).unwrap().ended(true);
        assert_eq!(circuits.state(&uri), CircuitState::Closed);
    }

    #[tokio::test]
    async fn procedures_have_circuits_of_their_own() {
        let (circuits, uri) = circuits();
        for _ in 0..4 {
            circuits.admit(&uri).unwrap().ended(true);
        }
        assert!(circuits.admit(&uri).is_err());
        assert!(circuits.admit(&Uri::new("net.other").unwrap()).is_ok());
    }
}
