//! What can be wrong with certificates and keys that are given.

use std::{io, path::PathBuf};

/// Why a [`Tls`](crate::Tls) could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No certificate was given.
    #[error("no certificate is given: name one with `certificate_files` or `certificate_pem`")]
    NoCertificate,
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
    /// The operating system names no authority that issues servers' certificates, and none was given.
    #[error(
        "this system has no certificates of authorities, by which servers are verified: name them with \
         `http_client_root_ca_file`{cause}"
    )]
    NoSystemRoots {
        /// What went wrong while they were looked for; can be empty.
        cause: String,
    },
    /// Clients' certificates shall be verified, and nobody is named who issues them.
    #[error(
        "clients' certificates cannot be verified: name their authority with `root_ca_file` or `root_ca_pem`"
    )]
    NoAuthority,
    /// The certificate and its key cannot be used, or not together.
    #[error("the certificate cannot be used: {cause}")]
    Certificate {
        /// What is wrong with them.
        cause: String,
    },
    /// The cryptography library takes none of the settings.
    #[error("TLS cannot be set up: {cause}")]
    Unsupported {
        /// The library's words.
        cause: String,
    },
}
