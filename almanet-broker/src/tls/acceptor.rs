//! TLS as it is used: a client's plain connection becomes an encrypted one.

use std::{fmt, io, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ProtocolVersion, ServerConfig, ServerConnection},
    server::TlsStream,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::builder::{TlsBuilder, TlsVersion};
use crate::connections::TlsDescription;

/// The broker's side of TLS, to be given to [`BrokerConfig::tls`](crate::BrokerConfig::tls).
///
/// ```no_run
/// use almanet_broker::{BrokerConfig, Tls};
///
/// # fn main() -> Result<(), almanet_broker::TlsError> {
/// let tls = Tls::builder()
///     .certificate_files("broker.pem", "broker-key.pem")
///     .required(true)
///     .build()?;
/// let config = BrokerConfig::default().tls(tls);
/// # let _ = config;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    pub(super) server: Arc<ServerConfig>,
    pub(super) required: bool,
    pub(super) plain_http: bool,
    pub(super) min_version: TlsVersion,
}

impl Tls {
    /// Begins to say what TLS shall be like.
    pub fn builder() -> TlsBuilder {
        TlsBuilder::default()
    }

    /// Whether clients that do not change to TLS are refused.
    pub fn is_required(&self) -> bool {
        self.required
    }

    pub(crate) fn min_version(&self) -> TlsVersion {
        self.min_version
    }

    /// Whether HTTP is refused, since it is plain.
    #[cfg(feature = "http")]
    pub(crate) fn refuses_http(&self) -> bool {
        self.required && !self.plain_http
    }

    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        TlsAcceptor::from(Arc::clone(&self.server)).accept(stream).await
    }
}

impl fmt::Debug for Tls {
    /// Without the certificate and the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("required", &self.required)
            .field("plain_http", &self.plain_http)
            .finish_non_exhaustive()
    }
}

/// What was agreed, as nsqd's statistics name it. They know no cipher suite of TLS 1.3; here it has its IANA name.
pub(crate) fn describe(connection: &ServerConnection) -> TlsDescription {
    TlsDescription {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLS1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLS1.3",
            _ => "Unknown",
        },
        cipher_suite: connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or("Unknown"),
    }
}

/// The common name in the certificate that the client has shown; empty where there is none, as nsqd tells it.
pub(crate) fn common_name(connection: &ServerConnection) -> String {
    connection
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(|certificate| X509Certificate::from_der(certificate).ok())
        .and_then(|(_, certificate)| {
            // Of several, Go takes the last.
            let name = certificate.subject().iter_common_name().last()?;
            name.as_str().ok().map(str::to_owned)
        })
        .unwrap_or_default()
}
