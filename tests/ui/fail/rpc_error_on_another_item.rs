use almanet::RpcError;

#[derive(Debug, thiserror::Error, RpcError)]
enum Nothing {}

#[derive(Debug, thiserror::Error, RpcError)]
#[error("generic")]
struct Generic<T> {
    value: T,
}

#[derive(Debug, thiserror::Error, RpcError)]
#[error("borrowed")]
struct Borrowed {
    reason: &'static str,
}

#[derive(RpcError)]
union Either {
    left: u8,
    right: i8,
}

fn main() {}
