//! What can go wrong with the files of a store.

use std::{io, path::PathBuf};

/// A file or directory with which something could not be done.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub(crate) struct StoreError {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl StoreError {
    /// For `map_err`: says what was tried, and with what.
    pub(super) fn on(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            action,
            path: path.into(),
            source,
        }
    }
}
