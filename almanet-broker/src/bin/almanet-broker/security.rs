//! The flags of AUTH and TLS, which count together.

#[cfg(feature = "tls")]
mod tls;

use std::{error::Error, path::PathBuf};

use almanet_broker::{Auth, BrokerConfig};

#[cfg(feature = "tls")]
pub(crate) use self::tls::{client_auth, required, version};

/// What the flags say, before it is known whether it fits together.
#[derive(Debug, Default)]
pub(crate) struct Security {
    pub(crate) auth_http_addresses: Vec<String>,
    pub(crate) auth_secret_file: Option<PathBuf>,
    #[cfg(feature = "tls")]
    pub(crate) tls: tls::TlsFlags,
}

impl Security {
    /// Says what does not fit together.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.auth_secret_file.is_some() && !self.auth_http_addresses.is_empty() {
            return Err("--auth-secret-file and --auth-http-address exclude each other: give one of them");
        }
        #[cfg(feature = "tls")]
        self.tls.check()?;
        Ok(())
    }

    /// Reads the files that are named.
    pub(crate) fn apply(self, config: BrokerConfig) -> Result<BrokerConfig, Box<dyn Error>> {
        let config = if let Some(path) = self.auth_secret_file {
            config.auth(Auth::secret_file(path)?)
        } else if self.auth_http_addresses.is_empty() {
            config
        } else {
            config.auth(Auth::http(self.auth_http_addresses)?)
        };
        #[cfg(feature = "tls")]
        let config = self.tls.apply(config)?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::args::Args;

    fn security(line: &str) -> Result<Security, String> {
        let line = format!("broker {line}");
        let args = Args::from_command_line(line.split_whitespace().map(OsString::from));
        args.map(|args| args.security).map_err(|error| error.to_string())
    }

    #[test]
    fn one_way_to_check_secrets_is_enough() {
        let both = security("--auth-http-address=a:1 -auth-http-address b:2").unwrap();
        assert_eq!(both.auth_http_addresses, ["a:1", "b:2"]);
        let error = security("--auth-http-address=a:1 --auth-secret-file=s").unwrap_err();
        assert!(error.contains("exclude each other"), "{error}");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn the_flags_of_tls_are_read_as_nsqd_reads_them() {
        let files = "--tls-cert=c --tls-key=k";
        for (flags, required) in [
            ("", tls::Required::No),
            ("--tls-required", tls::Required::Always),
            ("--tls-required=1", tls::Required::Always),
            ("-tls-required=tcp-https", tls::Required::ExceptHttp),
            ("--tls-required=false", tls::Required::No),
        ] {
            let tls = security(&format!("{files} {flags}")).unwrap().tls;
            assert_eq!(tls.required, required, "{flags}");
        }
        let version = |flag| security(flag).unwrap().tls.min_version;
        assert_eq!(version(""), Some(almanet_broker::TlsVersion::Tls12));
        assert_eq!(
            version("--tls-min-version=tls1.0"),
            Some(almanet_broker::TlsVersion::Tls12)
        );
        assert_eq!(
            version("--tls-min-version=tls1.3"),
            Some(almanet_broker::TlsVersion::Tls13)
        );
        let policy = |text| security(&format!("{files} --tls-client-auth-policy={text}"));
        let required = policy("require-verify").unwrap().tls.client_auth;
        assert_eq!(required, Some(almanet_broker::ClientAuth::RequireVerify));
        assert!(
            policy("requier")
                .unwrap_err()
                .contains("require or require-verify")
        );
    }

    #[cfg(feature = "tls")]
    #[test]
    fn auth_servers_are_verified_by_the_named_authority() {
        let flags = security("--auth-http-address=https://a/ --tls-root-ca-file=ca.pem").unwrap();
        let expected = BrokerConfig::default()
            .auth(Auth::http(["https://a/"]).unwrap())
            .http_client_root_ca_file("ca.pem");
        let config = flags.apply(BrokerConfig::default()).unwrap();
        assert_eq!(format!("{config:?}"), format!("{expected:?}"));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn what_tls_needs_is_asked_for() {
        for (flags, missing) in [
            ("--tls-cert=c", "--tls-key"),
            ("--tls-key=k", "--tls-cert"),
            ("--tls-required", "--tls-cert and --tls-key"),
            (
                "--tls-client-auth-policy=require",
                "needs --tls-cert and --tls-key",
            ),
        ] {
            let error = security(flags).unwrap_err();
            assert!(error.contains(missing), "{flags}: {error}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn without_tls_its_flags_say_so() {
        let error = security("--tls-cert=c").unwrap_err();
        assert!(error.contains("without the feature tls"), "{error}");
    }
}
