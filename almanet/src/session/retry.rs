//! When a call is sent again.

use std::{fmt, time::Duration};

use tower::retry::budget::{Budget as _, TpsBudget};

/// How often, and after which pauses, a call is sent again that failed.
///
/// What is known not to have run is sent again in any case: no broker took it
/// ([`PublishError::NotSent`](crate::transport::PublishError::NotSent)), or the instance that got it had too much to do
/// ([`CallError::Overloaded`](crate::CallError::Overloaded)). What may have run is sent again only if the call is
/// [idempotent](crate::Call::idempotent): the broker did not confirm it, its node was lost
/// ([`CallError::Disconnected`](crate::CallError::Disconnected)), or the attempt took longer than
/// [`attempt_timeout`](Self::attempt_timeout). An error that the procedure returned is an answer, and final,
/// unless [`Call::retry_if`](crate::Call::retry_if) says otherwise.
///
/// No attempt begins once the call's own timeout has passed, and all calls of a session share a [`RetryBudget`], so that
/// retries do not make an outage worse.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(session: almanet::Session) -> Result<(), almanet::CallError> {
/// use almanet::Retry;
///
/// let policy = Retry::default().attempts(5).attempt_timeout(Duration::from_secs(1));
/// let price: u64 = session.call("net.example.price", &"tea").idempotent().retry(policy).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    attempts: u32,
    first_pause: Duration,
    longest_pause: Duration,
    attempt_timeout: Option<Duration>,
}

impl Default for Retry {
    /// Three attempts, with pauses of up to 50 ms and 100 ms; attempts have no time of their own.
    fn default() -> Self {
        Self {
            // What fails three times in a row mostly fails a fourth time as well.
            attempts: 3,
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(2),
            attempt_timeout: None,
        }
    }
}

impl Retry {
    /// One attempt and no more.
    #[must_use]
    pub fn never() -> Self {
        Self::default().attempts(1)
    }

    /// The most attempts, the first included; at least 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// The longest pause before the second attempt, which doubles for each that follows up to `longest`. Each pause is
    /// drawn between nothing and its longest, so that those who failed together do not come back together.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        // No call waits longer than that, and clocks can count it.
        self.longest_pause = longest.max(first).min(Duration::from_secs(86400));
        self.first_pause = first.min(self.longest_pause);
        self
    }

    /// How long one attempt may take, which is less than the call may. For procedures of which it is known how long
    /// they take: an attempt that a dead instance holds is sent again after this time.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    pub(super) fn most_attempts(&self) -> u32 {
        self.attempts
    }

    pub(super) fn longest_attempt(&self) -> Option<Duration> {
        self.attempt_timeout
    }

    /// The pause after the attempt of this number, which begins with 1.
    pub(super) fn pause(&self, attempt: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        let longest = self.first_pause.saturating_mul(doubled).min(self.longest_pause);
        longest.mul_f64(fastrand::f64())
    }
}

/// How many retries a session makes at most, compared with its calls.
///
/// Each call that has a retry policy pays for a part of a retry; a retry that nobody paid for is not made, and its call
/// ends with the error of its last attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudget {
    percent: u32,
    per_second: u32,
}

impl Default for RetryBudget {
    /// One retry for every five calls, and ten in each second.
    fn default() -> Self {
        Self {
            percent: 20,
            per_second: 10,
        }
    }
}

impl RetryBudget {
    /// How many retries there may be for each hundred calls, at most 1000.
    #[must_use]
    pub fn percent(mut self, percent: u32) -> Self {
        self.percent = percent.min(1000);
        self
    }

    /// How many retries a second there may be however few calls there are, so that a rare call can be retried too.
    #[must_use]
    pub fn per_second(mut self, retries: u32) -> Self {
        self.per_second = retries;
        self
    }
}

/// What is left of a [`RetryBudget`].
pub(super) struct Budget(TpsBudget);

impl Budget {
    pub(super) fn new(budget: RetryBudget) -> Self {
        // For how long a call pays for retries.
        const TERM: Duration = Duration::from_secs(10);
        let ratio = f64::from(budget.percent) / 100.0;
        Self(TpsBudget::new(
            TERM,
            budget.per_second.min(1_000_000),
            ratio as f32,
        ))
    }

    /// Pays for a part of a retry.
    pub(super) fn deposit(&self) {
        self.0.deposit();
    }

    /// Whether there may be one more retry.
    pub(super) fn withdraw(&self) -> bool {
        self.0.withdraw()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_drawn() {
        let retry = Retry::default().pauses(Duration::from_millis(10), Duration::from_millis(35));
        for (attempt, longest) in [(1, 10), (2, 20), (3, 35), (4, 35), (u32::MAX, 35)] {
            let drawn: Vec<Duration> = (0..200).map(|_| retry.pause(attempt)).collect();
            let longest = Duration::from_millis(longest);
            assert!(drawn.iter().all(|pause| *pause <= longest), "{attempt}");
            assert!(drawn.iter().any(|pause| *pause > longest / 2), "{attempt}");
            assert!(drawn.iter().any(|pause| *pause < longest / 2), "{attempt}");
        }
    }

    #[test]
    fn a_budget_without_a_reserve_allows_what_calls_paid_for() {
        let budget = Budget::new(RetryBudget::default().percent(50).per_second(0));
        assert!(!budget.withdraw());
        for _ in 0..10 {
            budget.deposit();
        }
        let made = (0..100).filter(|_| budget.withdraw()).count();
        assert_eq!(made, 5);
    }
}
