//! Why a broker does not start, and why it does not stop well.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::store::{OpenError, StoreError};
#[cfg(feature = "tls")]
use crate::tls::TlsError;

/// Why [`Broker::start`](crate::Broker::start) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on: in use, not of this machine, or not allowed.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another broker keeps its state in the data path.
    #[error("the data path {} is used by another broker: give each its own", path.display())]
    DataPathInUse {
        /// The data path.
        path: PathBuf,
    },
    /// The data path cannot be read or written. A damaged state is not that: it is set aside.
    #[error("cannot use the data path: cannot {action} {}", path.display())]
    DataPath {
        /// What was tried.
        action: &'static str,
        /// The file or directory concerned.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// An auth server is to be asked over https, and there is nothing to verify its certificate with.
    #[cfg(feature = "tls")]
    #[error("auth servers cannot be asked over https")]
    Tls(#[source] TlsError),
    /// The runtime was shut down while files were read.
    #[error("the runtime was shut down before the broker had started")]
    Runtime,
}

impl StartError {
    pub(crate) fn opening(path: PathBuf) -> impl FnOnce(OpenError) -> Self {
        |error| match error {
            OpenError::InUse => Self::DataPathInUse { path },
            OpenError::Failed(error) => error.into(),
        }
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        let StoreError { action, path, source } = error;
        Self::DataPath { action, path, source }
    }
}

/// Why [`Broker::stop`](crate::Broker::stop) failed. The broker has ended all the same.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// Topics, channels and messages could not be saved: those that were saved before are still in the data path,
    /// what came since is lost.
    #[error("cannot save topics, channels and messages: cannot {action} {}", path.display())]
    Save {
        /// What was tried.
        action: &'static str,
        /// The file or directory concerned.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The runtime was shut down before the broker had ended. Nothing was saved.
    #[error("the runtime was shut down before the broker had ended")]
    Runtime,
}

impl From<StoreError> for StopError {
    fn from(error: StoreError) -> Self {
        let StoreError { action, path, source } = error;
        Self::Save { action, path, source }
    }
}
