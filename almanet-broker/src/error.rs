//! Why a broker does not start.

use std::{io, net::SocketAddr};

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
}
