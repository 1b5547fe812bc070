//! The broker's side of TLS: what it shows, whom it asks for a certificate, and what it reads from theirs.
//!
//! The choices are nsqd's flags `--tls-*`. Versions before TLS 1.2 do not exist here.

mod acceptor;
mod builder;
mod client_auth;
mod error;

pub use acceptor::Tls;
pub use builder::{TlsBuilder, TlsVersion};
pub use client_auth::ClientAuth;
pub use error::TlsError;

pub(crate) use acceptor::{common_name, describe};
