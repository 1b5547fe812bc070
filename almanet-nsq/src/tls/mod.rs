//! TLS: whom a connection trusts, and what the other side sees of this one.

mod builder;
mod connector;
mod error;
mod failure;
mod verifier;

pub use builder::TlsBuilder;
pub use connector::Tls;
pub use error::TlsError;

pub(crate) use failure::failure;
