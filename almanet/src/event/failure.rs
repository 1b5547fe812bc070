//! Why an event was not dealt with, and what shall become of it.

use std::{error::Error, fmt, time::Duration};

use tower::BoxError;

/// What a handler of events returns when it fails.
///
/// Any error becomes one, by `?` or `.into()`, and then the event is tried again. [`Failure::permanent`] says that this
/// would be of no use.
///
/// ```
/// use almanet::Failure;
///
/// fn charge(amount: &str) -> Result<(), Failure> {
///     // No later attempt makes a number of it.
///     let amount: u32 = amount.parse().map_err(Failure::permanent)?;
///     // A full disk may have room again.
///     std::fs::write("/dev/null", amount.to_string())?;
///     Ok(())
/// }
/// # assert!(charge("7").is_ok() && charge("seven").is_err());
/// ```
///
/// It is no [`Error`] itself, so that all errors can become one.
#[derive(Clone)]
pub struct Failure {
    pub(super) kind: FailureKind,
    message: String,
}

/// What shall become of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// Again, when the consumer's policy says.
    Retry,
    /// Again, after this time.
    RetryAfter(Duration),
    /// Never again.
    Permanent,
    /// Never again: the handler never saw it.
    Undecodable,
}

impl Failure {
    /// The event shall be handled again, when the consumer's [`EventRetry`](crate::EventRetry) says.
    pub fn retry(error: impl fmt::Display) -> Self {
        Self::new(FailureKind::Retry, &error)
    }

    /// The event shall be handled again after `delay`, or after the longest that brokers hold messages back
    /// ([`SessionBuilder::max_deferral`](crate::SessionBuilder::max_deferral)) when that is less.
    pub fn retry_after(delay: Duration, error: impl fmt::Display) -> Self {
        Self::new(FailureKind::RetryAfter(delay), &error)
    }

    /// The event shall not be handled again: it goes to the dead letters.
    pub fn permanent(error: impl fmt::Display) -> Self {
        Self::new(FailureKind::Permanent, &error)
    }

    /// The event shall be handled again: `error` and its causes say why.
    pub(super) fn from_error(error: &dyn Error) -> Self {
        Self::new(FailureKind::Retry, &chain(error))
    }

    pub(super) fn undecodable(error: &dyn Error) -> Self {
        Self::new(FailureKind::Undecodable, &chain(error))
    }

    fn new(kind: FailureKind, message: &dyn fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }

    /// The error, in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How the handler ended, in one of a few words.
    pub(crate) fn outcome(&self) -> &'static str {
        match self.kind {
            FailureKind::Retry | FailureKind::RetryAfter(_) => "error",
            FailureKind::Permanent => "permanent",
            FailureKind::Undecodable => "undecodable",
        }
    }

    /// Whether the event shall not be handled again.
    pub fn is_permanent(&self) -> bool {
        matches!(self.kind, FailureKind::Permanent | FailureKind::Undecodable)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::from_error(&error)
    }
}

/// So that a failure passes through the layers of others, and comes out as it was.
impl From<Failure> for BoxError {
    fn from(failure: Failure) -> Self {
        Box::new(Passing(failure))
    }
}

/// A failure where only an [`Error`] fits.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(super) struct Passing(pub(super) Failure);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .finish()
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What handlers of events return: nothing, or a `Result` of nothing and whatever a [`Failure`] can be made of.
pub trait HandlerResult {
    /// Whether the event has been dealt with.
    ///
    /// # Errors
    ///
    /// The handler's own.
    fn into_result(self) -> Result<(), Failure>;
}

impl HandlerResult for () {
    fn into_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<E: Into<Failure>> HandlerResult for Result<(), E> {
    fn into_result(self) -> Result<(), Failure> {
        self.map_err(Into::into)
    }
}
