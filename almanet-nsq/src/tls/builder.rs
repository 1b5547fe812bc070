//! What a user can say about TLS, and reading it.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
};

use super::{connector::Tls, error::TlsError, verifier::AcceptAny};

/// Settings of a [`Tls`].
#[derive(Clone, Default)]
#[must_use = "it does nothing until it is built"]
pub struct TlsBuilder {
    authorities: Vec<Pem>,
    client: Option<(Pem, Pem)>,
    server_name: Option<String>,
    accepts_any_certificate: bool,
}

impl TlsBuilder {
    /// Trusts the authorities in this PEM file, instead of those of the operating system. Can be called repeatedly.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities.push(Pem::File(path.into()));
        self
    }

    /// Trusts the authorities in this PEM text, instead of those of the operating system. Can be called repeatedly.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(Pem::Given("the given CA", pem.into()));
        self
    }

    /// Shows this certificate to a broker that asks for one: two PEM files, the chain (own certificate first) and its
    /// private key.
    ///
    /// nsqd asks when it runs with `--tls-client-auth-policy`.
    pub fn client_certificate_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.client = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }

    /// Shows this certificate to a broker that asks for one: two PEM texts, the chain (own certificate first) and its
    /// private key.
    pub fn client_certificate_pem(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.client = Some((
            Pem::Given("the given client certificate", certificate.into()),
            Pem::Given("the given client key", key.into()),
        ));
        self
    }

    /// The host name or IP address that the broker's certificate has to be for.
    ///
    /// By default the host that is connected to. Set it where brokers are reached by other names than their
    /// certificates have, as behind a tunnel.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Takes any certificate from the broker: of any issuer, for any name, of any date.
    ///
    /// The connection is encrypted then, but whoever can redirect it can read and change everything, the AUTH secret
    /// included. For a self-signed certificate, [`ca_file`](Self::ca_file) is nearly always what is wanted.
    pub fn danger_accept_invalid_certificates(mut self) -> Self {
        self.accepts_any_certificate = true;
        self
    }

    /// Reads the files, and the operating system's authorities where no other is named.
    ///
    /// It blocks for as long as that takes, some milliseconds.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file or setting that cannot be used.
    pub fn build(self) -> Result<Tls, TlsError> {
        let server_name = match self.server_name {
            Some(name) => {
                let parsed = ServerName::try_from(name.clone());
                Some(parsed.map_err(|_| TlsError::ServerName { name })?)
            }
            None => None,
        };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Unsupported {
                cause: error.to_string(),
            })?;
        let builder = if self.accepts_any_certificate {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAny::new(provider)))
        } else if self.authorities.is_empty() {
            builder.with_root_certificates(system_roots()?)
        } else {
            builder.with_root_certificates(given_roots(&self.authorities)?)
        };
        let client = match &self.client {
            Some((certificate, key)) => builder
                .with_client_auth_cert(certificate.certificates()?, key.key()?)
                .map_err(|error| TlsError::ClientCertificate {
                    cause: error.to_string(),
                })?,
            None => builder.with_no_client_auth(),
        };
        Ok(Tls {
            client: Arc::new(client),
            server_name,
        })
    }
}

impl fmt::Debug for TlsBuilder {
    /// Without what the certificates and the key are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsBuilder")
            .field("authorities", &self.authorities)
            .field("client", &self.client)
            .field("server_name", &self.server_name)
            .field("accepts_any_certificate", &self.accepts_any_certificate)
            .finish()
    }
}

fn given_roots(authorities: &[Pem]) -> Result<RootCertStore, TlsError> {
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

/// Those that the operating system has. One that cannot be read is no reason to do without the others.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let causes: Vec<String> = found.errors.iter().map(|error| format!("; {error}")).collect();
        return Err(TlsError::NoSystemRoots {
            cause: causes.concat(),
        });
    }
    Ok(roots)
}

/// Something in PEM form.
#[derive(Clone)]
enum Pem {
    File(PathBuf),
    Given(&'static str, Vec<u8>),
}

impl Pem {
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let what = "certificate";
        let text = self.read()?;
        let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match parsed {
            Ok(certificates) if certificates.is_empty() => Err(self.not_pem(what, &pem::Error::NoItemsFound)),
            Ok(certificates) => Ok(certificates),
            Err(error) => Err(self.not_pem(what, &error)),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let text = self.read()?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| self.not_pem("unencrypted private key", &error))
    }

    fn read(&self) -> Result<Vec<u8>, TlsError> {
        match self {
            Self::File(path) => fs::read(path).map_err(|source| TlsError::Unreadable {
                path: shown(path),
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
            Self::File(path) => shown(path).display().to_string(),
            Self::Given(name, _) => (*name).to_owned(),
        }
    }
}

/// `path` as it may be shown: a PEM text that was given instead of one can be a key.
fn shown(path: &Path) -> PathBuf {
    match path.to_string_lossy().contains("-----BEGIN") {
        true => "(a PEM text where a file's path belongs)".into(),
        false => path.to_owned(),
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}
