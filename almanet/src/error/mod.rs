//! What can go wrong: with a call ([`call`]), with anything else that this program does ([`operation`]), and in the procedure
//! that was called ([`remote`]).

mod call;
mod failed_call;
mod operation;
mod remote;

pub use call::CallError;
pub use failed_call::FailedCall;
pub use operation::{
    CommitError, ConnectError, ConsumeError, IntrospectError, LeaveError, ProduceError, ReplayError,
    ServeError, StartError,
};
pub(crate) use remote::{
    INTERNAL_ERROR, INTERRUPTED, INVALID_PAYLOAD, INVALID_RETURN, OVERLOADED, STREAM_ONLY, TIMEOUT,
};
pub use remote::{RemoteError, RpcError};
