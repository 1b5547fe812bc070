//! What can go wrong while nsqlookupd is asked.

use std::time::Duration;

/// Why nsqlookupd could not be asked, or what was wrong with its answer.
///
/// The text of each variant holds its cause, so that the text of [`NoneAnswered`](Self::NoneAnswered) tells the
/// whole story; there is no `source()` that would repeat it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// There was no address to ask.
    #[error("no nsqlookupd was given: name at least one HTTP address as host:port")]
    NoAddress,
    /// The text is no address.
    #[error("{address:?} is no address of nsqlookupd: {reason}")]
    InvalidAddress {
        /// The address as it was given.
        address: String,
        /// What is wrong with it, and how to write it.
        reason: &'static str,
    },
    /// The address does not resolve, or nothing takes connections there.
    #[error("cannot connect to nsqlookupd at {address}: {cause}; is it running there?")]
    Unreachable {
        /// The address as it was given.
        address: String,
        /// What the operating system said.
        cause: String,
    },
    /// No whole answer came in time.
    #[error("nsqlookupd at {address} did not answer within {after:?}")]
    TimedOut {
        /// The address as it was given.
        address: String,
        /// The time that was allowed.
        after: Duration,
    },
    /// The connection broke before the whole answer was there.
    #[error("nsqlookupd at {address} broke its answer off: {cause}")]
    Lost {
        /// The address as it was given.
        address: String,
        /// How it broke.
        cause: String,
    },
    /// The answer is larger than the configured limit.
    #[error("the answer of nsqlookupd at {address} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The address as it was given.
        address: String,
        /// How many bytes it may have.
        limit: usize,
    },
    /// Something answers, but not as nsqlookupd does.
    #[error(
        "{address} does not answer as nsqlookupd does: {cause}; is that its HTTP port (4161) and not its TCP port (4160)?"
    )]
    NotLookupd {
        /// The address as it was given.
        address: String,
        /// What was wrong with the answer.
        cause: String,
    },
    /// None of those asked gave a usable answer.
    #[error("no nsqlookupd answers: {}", list(.0))]
    NoneAnswered(Vec<LookupError>),
}

fn list(errors: &[LookupError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join(" | ")
}
