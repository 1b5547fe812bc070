//! What can be wrong with certificates and keys that are given.

use std::{io, path::PathBuf};

/// Why a [`Tls`](crate::Tls) could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file as it was given.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file or text does not hold what it should, in PEM form.
    #[error("{origin} holds no {what} in PEM form: {cause}")]
    NotPem {
        /// The file, or which of the texts that were given.
        origin: String,
        /// What was looked for.
        what: &'static str,
        /// What was found instead.
        cause: String,
    },
    /// A certificate of an authority cannot be used.
    #[error("a certificate in {origin} cannot be trusted: {cause}")]
    BadAuthority {
        /// The file, or which of the texts that were given.
        origin: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The operating system has no authority to trust.
    #[error(
        "the system has no certificate to trust: name a CA with `ca_file` or `ca_pem`, or install ca-certificates{cause}"
    )]
    NoSystemRoots {
        /// What went wrong while they were looked for; can be empty.
        cause: String,
    },
    /// The client's certificate and key cannot be used, or not together.
    #[error("the client certificate cannot be used: {cause}")]
    ClientCertificate {
        /// What is wrong with them.
        cause: String,
    },
    /// No certificate can be for this name.
    #[error("`{name}` is neither a host name nor an IP address, so no certificate can be for it")]
    ServerName {
        /// The name as it was given.
        name: String,
    },
    /// The cryptography library takes none of the settings.
    #[error("TLS cannot be set up: {cause}")]
    Unsupported {
        /// The library's words.
        cause: String,
    },
}
