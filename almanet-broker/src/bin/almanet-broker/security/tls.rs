//! The flags of TLS.

use std::path::PathBuf;

use almanet_broker::{BrokerConfig, ClientAuth, Tls, TlsError, TlsVersion};

use crate::value::boolean;

#[derive(Debug, Default)]
pub(crate) struct TlsFlags {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) client_auth: Option<ClientAuth>,
    pub(crate) root_ca_file: Option<PathBuf>,
    pub(crate) required: Required,
    pub(crate) min_version: Option<TlsVersion>,
}

/// Who has to change to TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Required {
    #[default]
    No,
    Always,
    /// HTTP may stay plain.
    ExceptHttp,
}

impl TlsFlags {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match (&self.certificate, &self.key) {
            (Some(_), Some(_)) => Ok(()),
            (Some(_), None) => Err("--tls-cert needs --tls-key, the certificate's private key"),
            (None, Some(_)) => Err("--tls-key needs --tls-cert, the certificate of that key"),
            (None, None) if self.required != Required::No => {
                Err("cannot require TLS of clients without --tls-cert and --tls-key")
            }
            (None, None) if self.client_auth.is_some() => {
                Err("--tls-client-auth-policy needs --tls-cert and --tls-key")
            }
            (None, None) => Ok(()),
        }
    }

    pub(super) fn apply(self, mut config: BrokerConfig) -> Result<BrokerConfig, TlsError> {
        if let Some(path) = &self.root_ca_file {
            config = config.http_client_root_ca_file(path);
        }
        let (Some(certificate), Some(key)) = (self.certificate, self.key) else {
            return Ok(config);
        };
        let mut tls = Tls::builder()
            .certificate_files(certificate, key)
            .required(self.required != Required::No)
            .plain_http(self.required == Required::ExceptHttp)
            .client_auth(self.client_auth.unwrap_or(ClientAuth::None))
            .min_version(self.min_version.unwrap_or(TlsVersion::Tls12));
        if let Some(path) = self.root_ca_file {
            tls = tls.root_ca_file(path);
        }
        Ok(config.tls(tls.build()?))
    }
}

/// What clients have to show. nsqd takes a policy that it does not know for none; here it is a mistake.
pub(crate) fn client_auth(text: &str) -> Result<ClientAuth, String> {
    match text {
        "require" => Ok(ClientAuth::Require),
        "require-verify" => Ok(ClientAuth::RequireVerify),
        _ => Err("write require or require-verify".to_owned()),
    }
}

/// Whether clients have to change to TLS.
pub(crate) fn required(text: &str) -> Result<Required, String> {
    match (text, boolean(text)) {
        ("tcp-https", _) => Ok(Required::ExceptHttp),
        (_, Ok(true)) => Ok(Required::Always),
        (_, Ok(false)) => Ok(Required::No),
        (_, Err(_)) => Err("write true, false or tcp-https".to_owned()),
    }
}

/// The oldest version. Those before 1.2 are not spoken.
pub(crate) fn version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "ssl3.0" | "tls1.0" | "tls1.1" | "tls1.2" => Ok(TlsVersion::Tls12),
        "tls1.3" => Ok(TlsVersion::Tls13),
        _ => Err("write tls1.2 or tls1.3".to_owned()),
    }
}
