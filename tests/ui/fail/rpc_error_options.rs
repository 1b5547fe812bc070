use almanet::RpcError;

#[derive(Debug, thiserror::Error, RpcError)]
#[rpc_error(name = "greet_error")]
enum GreetError {
    #[error("denied")]
    #[rpc_error(nam = "denied")]
    Denied,
    #[error("refused")]
    #[rpc_error(name = refused)]
    Refused {
        #[rpc_error(name = "who")]
        name: String,
    },
    #[error("late")]
    #[rpc_error(name = "late")]
    #[rpc_error(name = "too_late")]
    Late,
    #[error("early")]
    #[rpc_error = "early"]
    Early,
}

fn main() {}
