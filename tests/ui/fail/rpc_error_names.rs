use almanet::RpcError;

#[derive(Debug, thiserror::Error, RpcError)]
enum GreetError {
    #[error("denied")]
    Denied,
    #[error("denied")]
    #[rpc_error(name = "denied")]
    Refused,
    #[error("empty")]
    #[rpc_error(name = "")]
    Empty,
    #[error("internal")]
    #[rpc_error(name = "InternalError")]
    Internal,
    #[error("payload")]
    RpcInvalidPayload,
}

fn main() {}
