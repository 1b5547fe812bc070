//! nsqd's flags for compression, AUTH and TLS.

use std::{error::Error, path::PathBuf};

use almanet_broker::{Auth, BrokerConfig};
#[cfg(feature = "tls")]
use almanet_broker::{ClientAuth, Tls, TlsVersion};
#[cfg(feature = "tls")]
use clap::ValueEnum;
use clap::{ArgAction, Args};

/// Which compression clients may ask for.
#[derive(Debug, Args)]
pub(crate) struct CompressionArgs {
    /// Whether clients may ask for snappy
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true")]
    snappy: bool,

    /// Whether clients may ask for deflate
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true")]
    deflate: bool,

    /// Highest deflate level that a client gets
    #[arg(long, value_name = "LEVEL", default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=9))]
    max_deflate_level: u8,
}

impl CompressionArgs {
    pub(crate) fn apply(&self, config: BrokerConfig) -> BrokerConfig {
        config
            .snappy(self.snappy)
            .deflate(self.deflate)
            .max_deflate_level(self.max_deflate_level)
    }
}

/// Whom the broker believes about clients' secrets.
#[derive(Debug, Args)]
pub(crate) struct AuthArgs {
    /// Auth server to ask what a client's secret allows: HOST:PORT or an http URL; can be given several times
    #[arg(long, value_name = "ADDRESS")]
    auth_http_address: Vec<String>,

    /// File with the one secret that clients have to show (not a flag of nsqd)
    #[arg(long, value_name = "PATH", conflicts_with = "auth_http_address")]
    auth_secret_file: Option<PathBuf>,
}

impl AuthArgs {
    pub(crate) fn apply(self, config: BrokerConfig) -> Result<BrokerConfig, Box<dyn Error>> {
        Ok(if let Some(path) = self.auth_secret_file {
            config.auth(Auth::secret_file(path)?)
        } else if self.auth_http_address.is_empty() {
            config
        } else {
            config.auth(Auth::http(self.auth_http_address)?)
        })
    }
}

/// TLS for clients.
#[cfg(feature = "tls")]
#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    /// PEM file with the broker's certificate
    #[arg(long, value_name = "PATH", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// PEM file with the certificate's private key
    #[arg(long, value_name = "PATH", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Which certificate clients have to show: any, or one of the authority in --tls-root-ca-file
    #[arg(long, value_name = "POLICY", requires = "tls_cert")]
    tls_client_auth_policy: Option<Policy>,

    /// PEM file with the authority that issues clients' certificates
    #[arg(long, value_name = "PATH")]
    tls_root_ca_file: Option<PathBuf>,

    /// Whether clients have to change to TLS
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true")]
    tls_required: Required,

    /// Oldest version of TLS that is spoken; those before 1.2 count as 1.2
    #[arg(long, value_name = "VERSION", default_value = "tls1.2")]
    tls_min_version: MinVersion,
}

#[cfg(feature = "tls")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policy {
    Require,
    RequireVerify,
}

#[cfg(feature = "tls")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Required {
    #[value(alias = "0", alias = "f", alias = "F", alias = "FALSE", alias = "False")]
    False,
    #[value(alias = "1", alias = "t", alias = "T", alias = "TRUE", alias = "True")]
    True,
    /// For NSQ's own protocol, and not for HTTP.
    TcpHttps,
}

#[cfg(feature = "tls")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MinVersion {
    #[value(name = "tls1.2", alias = "ssl3.0", alias = "tls1.0", alias = "tls1.1")]
    Tls12,
    #[value(name = "tls1.3")]
    Tls13,
}

#[cfg(feature = "tls")]
impl TlsArgs {
    pub(crate) fn apply(self, config: BrokerConfig) -> Result<BrokerConfig, Box<dyn Error>> {
        let (Some(certificate), Some(key)) = (self.tls_cert, self.tls_key) else {
            if self.tls_required != Required::False {
                return Err("cannot require TLS of clients without --tls-cert and --tls-key".into());
            }
            return Ok(config);
        };
        let mut tls = Tls::builder()
            .certificate_files(certificate, key)
            .required(self.tls_required != Required::False)
            .client_auth(match self.tls_client_auth_policy {
                None => ClientAuth::None,
                Some(Policy::Require) => ClientAuth::Require,
                Some(Policy::RequireVerify) => ClientAuth::RequireVerify,
            })
            .min_version(match self.tls_min_version {
                MinVersion::Tls12 => TlsVersion::Tls12,
                MinVersion::Tls13 => TlsVersion::Tls13,
            });
        if let Some(path) = self.tls_root_ca_file {
            tls = tls.root_ca_file(path);
        }
        Ok(config.tls(tls.build()?))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        compression: CompressionArgs,
        #[command(flatten)]
        auth: AuthArgs,
        #[cfg(feature = "tls")]
        #[command(flatten)]
        tls: TlsArgs,
    }

    fn line(flags: &[&str]) -> Result<Line, String> {
        Line::try_parse_from([&["broker"], flags].concat()).map_err(|error| error.to_string())
    }

    #[test]
    fn compression_is_on_until_it_is_switched_off() {
        for (flags, snappy, deflate) in [
            (&[][..], true, true),
            (&["--snappy=false"], false, true),
            (&["--snappy", "--deflate=false"], true, false),
        ] {
            let compression = line(flags).unwrap().compression;
            assert_eq!(
                (compression.snappy, compression.deflate),
                (snappy, deflate),
                "{flags:?}"
            );
        }
        assert!(line(&["--max-deflate-level=10"]).unwrap_err().contains("1..=9"));
    }

    #[test]
    fn one_way_to_check_secrets_is_enough() {
        let flags = ["--auth-http-address=a:1", "--auth-http-address=b:2"];
        assert_eq!(line(&flags).unwrap().auth.auth_http_address, ["a:1", "b:2"]);
        assert!(line(&["--auth-http-address=a:1", "--auth-secret-file=s"]).is_err());
    }

    #[cfg(feature = "tls")]
    #[test]
    fn the_flags_of_tls_are_read_as_nsqd_reads_them() {
        let required = |flags| line(flags).unwrap().tls.tls_required;
        assert_eq!(required(&[]), Required::False);
        assert_eq!(required(&["--tls-required"]), Required::True);
        assert_eq!(required(&["--tls-required=1"]), Required::True);
        assert_eq!(required(&["--tls-required=tcp-https"]), Required::TcpHttps);
        assert_eq!(required(&["--tls-required=false"]), Required::False);
        let version = |flags| line(flags).unwrap().tls.tls_min_version;
        assert_eq!(version(&["--tls-min-version=tls1.0"]), MinVersion::Tls12);
        assert_eq!(version(&["--tls-min-version=tls1.3"]), MinVersion::Tls13);
        // nsqd takes a policy that it does not know for none; here it is a mistake.
        assert!(line(&["--tls-cert=c", "--tls-key=k", "--tls-client-auth-policy=requier"]).is_err());
        assert!(line(&["--tls-cert=c"]).unwrap_err().contains("--tls-key"));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_cannot_be_required_without_a_certificate() {
        let tls = line(&["--tls-required"]).unwrap().tls;
        let error = tls.apply(BrokerConfig::default()).unwrap_err().to_string();
        assert!(error.contains("--tls-cert"), "{error}");
    }
}
