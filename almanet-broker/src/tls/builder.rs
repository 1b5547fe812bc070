//! What a user can say about TLS, and reading it.

use std::{path::PathBuf, sync::Arc};

use tokio_rustls::rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    version::{TLS12, TLS13},
};

use super::{acceptor::Tls, client_auth::ClientAuth, error::TlsError, pem::Pem};

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3. This is the default.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

static ALL: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
static NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];

impl TlsVersion {
    pub(super) fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => ALL,
            Self::Tls13 => NEWEST,
        }
    }
}

/// Settings of a [`Tls`].
#[derive(Debug, Clone, Default)]
#[must_use = "it does nothing until it is built"]
pub struct TlsBuilder {
    identity: Option<(Pem, Pem)>,
    authorities: Vec<Pem>,
    client_auth: ClientAuth,
    required: bool,
    plain_http: bool,
    min_version: TlsVersion,
}

impl TlsBuilder {
    /// Shows this certificate to clients: two PEM files, the chain (own certificate first) and its private key.
    ///
    /// As nsqd's `--tls-cert` and `--tls-key`.
    pub fn certificate_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }

    /// Shows this certificate to clients: two PEM texts, the chain (own certificate first) and its private key.
    pub fn certificate_pem(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((
            Pem::Given("the given certificate", certificate.into()),
            Pem::Given("the given key", key.into()),
        ));
        self
    }

    /// Which certificate clients have to show. The default is none.
    ///
    /// As nsqd's `--tls-client-auth-policy`, and as there, asking for one makes TLS itself
    /// [required](Self::required).
    pub fn client_auth(mut self, policy: ClientAuth) -> Self {
        self.client_auth = policy;
        self
    }

    /// Trusts the authorities in this PEM file to issue clients' certificates. Can be called repeatedly.
    ///
    /// As nsqd's `--tls-root-ca-file`.
    pub fn root_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities.push(Pem::File(path.into()));
        self
    }

    /// Trusts the authorities in this PEM text to issue clients' certificates. Can be called repeatedly.
    pub fn root_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(Pem::Given("the given CA", pem.into()));
        self
    }

    /// Whether clients have to change to TLS before they do anything else. By default they may stay plain.
    ///
    /// Plain HTTP is refused with status 403 then, as by nsqd, unless
    /// [`plain_http`](Self::plain_http) says otherwise. As nsqd's `--tls-required`.
    pub fn required(mut self, required: bool) -> Self {
        self.required = required;
        self
    }

    /// Whether HTTP may be plain although TLS is [required](Self::required). By default it may not.
    ///
    /// As nsqd's `--tls-required=tcp-https`.
    pub fn plain_http(mut self, may: bool) -> Self {
        self.plain_http = may;
        self
    }

    /// The oldest version of TLS that is spoken. The default is 1.2.
    ///
    /// As nsqd's `--tls-min-version`.
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.min_version = version;
        self
    }

    /// Reads the files.
    ///
    /// It blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file or setting that cannot be used.
    pub fn build(self) -> Result<Tls, TlsError> {
        let (certificate, key) = self.identity.ok_or(TlsError::NoCertificate)?;
        let (certificate, key) = (certificate.certificates()?, key.key()?);
        let provider = Arc::new(ring::default_provider());
        let verifier = self
            .client_auth
            .verifier(Pem::roots(&self.authorities)?, &provider)?;
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(self.min_version.and_newer())
            .map_err(|error| TlsError::Unsupported {
                cause: error.to_string(),
            })?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificate, key)
            .map_err(|error| TlsError::Certificate {
                cause: error.to_string(),
            })?;
        Ok(Tls {
            server: Arc::new(server),
            required: self.required || self.client_auth != ClientAuth::None,
            plain_http: self.plain_http,
            min_version: self.min_version,
        })
    }
}
