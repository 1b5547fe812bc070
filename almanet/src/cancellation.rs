//! Whether a run is over, for those who ask.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

/// A token that is made when somebody asks for it, as few handlers do.
#[derive(Debug, Default)]
pub(crate) struct Cancellation {
    token: OnceLock<CancellationToken>,
    is_over: AtomicBool,
}

impl Cancellation {
    /// The token; it has fired if the run is over already.
    pub(crate) fn token(&self) -> &CancellationToken {
        let token = self.token.get_or_init(CancellationToken::new);
        // Whoever ends the run looks for the token after that is noted, so one of the two sees the other.
        if self.is_over.load(Ordering::SeqCst) {
            token.cancel();
        }
        token
    }

    /// The run is over, however it ended.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(token) = self.token.get() {
            token.cancel();
        }
    }
}

/// Ends a run when it is dropped.
#[derive(Debug)]
pub(crate) struct EndOnDrop(pub(crate) Arc<Cancellation>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_cancelled_at_the_end_whether_it_was_asked_for_before_or_after() {
        for asked_before in [true, false] {
            let cancellation = Cancellation::default();
            if asked_before {
                assert!(!cancellation.token().is_cancelled());
            }
            cancellation.end();
            assert!(cancellation.token().is_cancelled());
        }
    }
}
