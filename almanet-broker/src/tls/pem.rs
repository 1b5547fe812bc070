//! Certificates and keys in PEM form, in files or given.

use std::{fmt, fs, path::PathBuf};

use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};

use super::error::TlsError;

/// Something in PEM form.
#[derive(Clone)]
pub(super) enum Pem {
    File(PathBuf),
    Given(&'static str, Vec<u8>),
}

impl Pem {
    /// The certificates in all of them, each to be believed as an authority's.
    pub(super) fn roots(authorities: &[Self]) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for pem in authorities {
            for certificate in pem.certificates()? {
                roots.add(certificate).map_err(|error| TlsError::BadAuthority {
                    origin: pem.origin(),
                    cause: error.to_string(),
                })?;
            }
        }
        Ok(roots)
    }

    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let what = "certificate";
        let text = self.read()?;
        let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match parsed {
            Ok(certificates) if certificates.is_empty() => Err(self.not_pem(what, &pem::Error::NoItemsFound)),
            Ok(certificates) => Ok(certificates),
            Err(error) => Err(self.not_pem(what, &error)),
        }
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let text = self.read()?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| self.not_pem("unencrypted private key", &error))
    }

    fn read(&self) -> Result<Vec<u8>, TlsError> {
        match self {
            Self::File(path) => fs::read(path).map_err(|source| TlsError::Unreadable {
                path: path.clone(),
                source,
            }),
            Self::Given(_, text) => Ok(text.clone()),
        }
    }

    fn not_pem(&self, what: &'static str, error: &pem::Error) -> TlsError {
        TlsError::NotPem {
            origin: self.origin(),
            what,
            cause: match error {
                pem::Error::NoItemsFound => "there is none".to_owned(),
                // Other texts would quote lines, and these can be of a key.
                pem::Error::Base64Decode(_) => "its base64 is broken".to_owned(),
                pem::Error::MissingSectionEnd { .. } => "its end is missing".to_owned(),
                _ => "it is malformed".to_owned(),
            },
        }
    }

    fn origin(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Given(name, _) => (*name).to_owned(),
        }
    }
}

impl fmt::Debug for Pem {
    /// Without what the certificate or key is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}
