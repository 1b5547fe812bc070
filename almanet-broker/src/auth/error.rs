//! What can be wrong with a secret or an auth server's address that is given.

use std::{io, path::PathBuf};

/// Why an [`Auth`](crate::Auth) could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The file with the secret cannot be read.
    #[error("cannot read the secret in {}", path.display())]
    Unreadable {
        /// The file as it was given.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The secret is empty, and AUTH cannot carry such a one.
    #[error("the secret is empty: no client could send it")]
    Empty,
    /// No auth server was named.
    #[error("no auth server is named")]
    NoServer,
    /// The address of an auth server cannot be used.
    #[error(
        "`{address}` is no auth server's address: write `host:port`, `http://host:port/path` or `https://host:port/path`"
    )]
    Address {
        /// The address as it was given.
        address: String,
    },
    /// The auth server shall be asked over https, and the broker was built without the feature `tls`.
    #[error("`{address}` cannot be asked: the broker was built without the feature `tls`")]
    NoTls {
        /// The address as it was given.
        address: String,
    },
}
