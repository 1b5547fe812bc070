//! How auth servers and nsqlookupd are asked over HTTP.

#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::time::Duration;

use super::BrokerConfig;
#[cfg(feature = "tls")]
use crate::tls::{TlsError, TlsVersion};

impl BrokerConfig {
    /// How long a connection to an auth server or to nsqlookupd's HTTP may take to be made.
    ///
    /// The default is 2 s, as nsqd's `--http-client-connect-timeout`.
    #[must_use]
    pub fn http_client_connect_timeout(mut self, timeout: Duration) -> Self {
        self.http_client.connect_timeout = timeout;
        self
    }

    /// How long an auth server or nsqlookupd's HTTP may take to answer, from the connection to the end of the answer.
    ///
    /// The default is 5 s, as nsqd's `--http-client-request-timeout`. nsqlookupd has 2 s at the most, since a new topic
    /// holds its messages back for that time.
    #[must_use]
    pub fn http_client_request_timeout(mut self, timeout: Duration) -> Self {
        self.http_client.request_timeout = timeout;
        self
    }

    /// Believes an auth server that is asked over https if an authority in this PEM file has issued its certificate. Can
    /// be called repeatedly.
    ///
    /// The default is the authorities that the operating system knows. As nsqd's `--tls-root-ca-file`, which counts for
    /// clients too ([`TlsBuilder::root_ca_file`](crate::TlsBuilder::root_ca_file)).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn http_client_root_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.http_client.trust.add_file(path.into());
        self
    }

    /// [`http_client_root_ca_file`](Self::http_client_root_ca_file) with a PEM text.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn http_client_root_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.http_client.trust.add_pem(pem.into());
        self
    }

    /// Whether any server is to be asked over https.
    #[cfg(feature = "tls")]
    pub(crate) fn asks_over_https(&self) -> bool {
        self.auth.as_ref().is_some_and(crate::Auth::needs_tls)
    }

    /// Reads what is needed to ask servers over https. It blocks.
    #[cfg(feature = "tls")]
    pub(crate) fn load_trust(&mut self) -> Result<(), TlsError> {
        let tls = self.tls.as_ref();
        let min_version = tls.map_or(TlsVersion::default(), crate::Tls::min_version);
        self.http_client.load_trust(min_version)
    }
}
