//! What can go wrong: in this program ([`operation`]), and in the procedure that was called ([`remote`]).

mod failed_call;
mod operation;
mod remote;

pub use failed_call::FailedCall;
pub use operation::{
    CallError, CommitError, ConnectError, ConsumeError, IntrospectError, LeaveError, ProduceError,
    ReplayError, ServeError, StartError,
};
pub(crate) use remote::{
    INTERNAL_ERROR, INTERRUPTED, INVALID_PAYLOAD, INVALID_RETURN, OVERLOADED, STREAM_ONLY, TIMEOUT,
};
pub use remote::{RemoteError, RpcError};
