//! The version that clients, tools and nsqlookupd are told.

/// The nsqd version whose behaviour this is, and the broker's own.
pub(crate) const VERSION: &str = concat!("1.3.0+almanet.", env!("CARGO_PKG_VERSION"));
