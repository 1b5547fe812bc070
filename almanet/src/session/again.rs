//! Whether a call that failed is worth another attempt.

use std::{fmt, sync::Arc};

use tokio::time::Instant;

use super::{attempt::Failed, call::raised, retry::Retry};
use crate::{
    error::{CallError, INTERNAL_ERROR, INVALID_RETURN, OVERLOADED, RemoteError, RpcError, TIMEOUT},
    uri::Uri,
    wire::Reply,
};

/// When a call is sent again.
pub(super) struct Again {
    pub(super) policy: Retry,
    pub(super) idempotent: bool,
    /// Which errors are worth it, where the caller has said so.
    pub(super) chosen: Option<Chosen>,
}

impl Again {
    /// Whether sending again can help, and does no harm.
    pub(super) fn is_worth_it(
        &self,
        outcome: &Result<Reply, Failed>,
        procedure: &Uri,
        started: Instant,
    ) -> bool {
        let ended = match outcome {
            Ok(Reply { outcome: Ok(_), .. }) => return false,
            Ok(Reply {
                outcome: Err(error), ..
            }) => match &self.chosen {
                None => return error.name() == OVERLOADED,
                Some(_) if has_run(error) && !self.idempotent => return false,
                Some(_) => Ended::Answered(error.clone()),
            },
            Err(failed) => match failed.for_another(self.idempotent) {
                None => return false,
                Some(failed) => Ended::Failed(failed),
            },
        };
        match &self.chosen {
            None => true,
            Some(chosen) => (chosen.0)(ended, procedure, started),
        }
    }
}

/// Whether the answer says that a run of the procedure went wrong, so that there is no saying what it has done.
fn has_run(error: &RemoteError) -> bool {
    matches!(error.name(), INTERNAL_ERROR | INVALID_RETURN | TIMEOUT)
}

/// How an attempt ended that did not bring a value.
enum Ended {
    Answered(RemoteError),
    Failed(Failed),
}

/// The errors that the caller has chosen, whatever their type is.
#[derive(Clone)]
pub(super) struct Chosen(Arc<Predicate>);

type Predicate = dyn Fn(Ended, &Uri, Instant) -> bool + Send + Sync;

impl Chosen {
    pub(super) fn by<E: RpcError>(predicate: impl Fn(&CallError<E>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |ended, procedure, started| {
            predicate(&match ended {
                Ended::Answered(error) => raised(procedure.clone(), error, started),
                Ended::Failed(failed) => failed.into_error(procedure.clone(), started),
            })
        }))
    }
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chosen")
    }
}
