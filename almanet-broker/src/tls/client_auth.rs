//! Whether clients have to show a certificate, and which.

use std::sync::Arc;

use tokio_rustls::rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::error::TlsError;

/// Which certificate a client has to show, as nsqd's `--tls-client-auth-policy` says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuth {
    /// None. This is the default.
    #[default]
    None,
    /// Any, of whatever issuer (`require`): the client has its key, and nothing else is known about it. An auth server
    /// is told its common name.
    Require,
    /// One that an authority of [`root_ca_file`](crate::TlsBuilder::root_ca_file) has issued (`require-verify`).
    RequireVerify,
}

impl ClientAuth {
    pub(super) fn verifier(
        self,
        roots: RootCertStore,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        match self {
            Self::None => Ok(WebPkiClientVerifier::no_client_auth()),
            Self::Require => Ok(Arc::new(AnyClient {
                algorithms: provider.signature_verification_algorithms,
            })),
            Self::RequireVerify if roots.is_empty() => Err(TlsError::NoAuthority),
            Self::RequireVerify => {
                let provider = Arc::clone(provider);
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                Ok(verifier.map_err(|error| TlsError::Unsupported {
                    cause: error.to_string(),
                })?)
            }
        }
    }
}

/// Takes any certificate whose key the client has.
#[derive(Debug)]
struct AnyClient {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
