//! What can go wrong: in this program ([`operation`]), and in the procedure that was called ([`remote`]).

mod operation;
mod remote;

pub use operation::{
    CallError, CommitError, ConnectError, ConsumeError, IntrospectError, LeaveError, ProduceError,
    ReplayError, ServeError, StartError,
};
pub(crate) use remote::{
    INTERNAL_ERROR, INTERRUPTED, INVALID_PAYLOAD, INVALID_RETURN, OVERLOADED, STREAM_ONLY, TIMEOUT,
};
pub use remote::{RemoteError, RpcError};
