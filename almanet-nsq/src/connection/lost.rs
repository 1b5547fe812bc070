//! Why a connection ended.

use std::{io, time::Duration};

use almanet_nsq_proto::{FrameError, ProtocolError};

/// Why a connection ended. The text holds the cause: it goes into logs and into the reason of unconfirmed publishes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// Its owner is done with it.
    #[error("the connection was closed")]
    Closed,
    /// The peer will send nothing more.
    #[error("the peer closed the connection")]
    Ended,
    /// The network failed.
    #[error("the connection failed: {0}")]
    Failed(io::Error),
    /// The peer sent what is no frame, or a frame that is too large.
    #[error("the peer sent what cannot be read: {0}")]
    Garbage(FrameError),
    /// Nothing came from the peer for two heartbeat intervals.
    #[error("the peer was silent for {after:?}")]
    Silent { after: Duration },
    /// The peer took nothing for two heartbeat intervals.
    #[error("the peer took nothing for {after:?}")]
    Stalled { after: Duration },
    /// The broker sent a fatal error; it works on nothing that was sent after the command concerned.
    #[error("the broker refused: {0}")]
    Refused(ProtocolError),
    /// The peer answered what nobody had asked, so that no answer can be trusted to belong to its command.
    #[error("the peer sent an answer that nothing had asked for")]
    Unasked,
}
