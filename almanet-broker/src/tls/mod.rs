//! The broker's side of TLS: what it shows, whom it asks for a certificate, what it reads from theirs, and whom it believes
//! where it is the client.
//!
//! The choices are nsqd's flags `--tls-*`. Versions before TLS 1.2 do not exist here.

mod acceptor;
mod builder;
mod client_auth;
mod error;
mod pem;
mod trust;

pub use acceptor::Tls;
pub use builder::{TlsBuilder, TlsVersion};
pub use client_auth::ClientAuth;
pub use error::TlsError;

pub(crate) use acceptor::{common_name, describe};
pub(crate) use trust::Trust;
