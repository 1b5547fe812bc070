//! Why a handshake failed, in words that say what to do.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// The reason in words where it is one of TLS, `None` where the network failed.
pub(crate) fn failure(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidCertificate(cause) => certificate(cause),
        Error::InvalidMessage(_) => "the peer answers, but not in TLS".to_owned(),
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                "the broker requires a client certificate: give one with `Tls::builder()`".to_owned()
            }
            // Brokers with TLS 1.2 say the same for a certificate that is missing.
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied => {
                format!("the broker does not accept this client's certificate, or misses one ({alert:?})")
            }
            alert => format!("the broker breaks the handshake off ({alert:?})"),
        },
        other => other.to_string(),
    })
}

fn certificate(cause: &CertificateError) -> String {
    match cause {
        CertificateError::UnknownIssuer => {
            "the broker's certificate is of an unknown issuer: name its CA with `Tls::builder().ca_file(..)`"
                .to_owned()
        }
        // What a CA leads to that was made anew under its old name.
        CertificateError::BadSignature => {
            "the broker's certificate is of an unknown issuer, which has the name of a trusted one and another key: \
             name its CA with `Tls::builder().ca_file(..)`"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the broker's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the broker's certificate is not valid yet; is this machine's clock right?".to_owned()
        }
        CertificateError::NotValidForName => "the broker's certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the broker's certificate is for another name: it is for {}, not for {}",
            names(presented),
            expected.to_str()
        ),
        // rustls wraps what its verification library says without a kind of its own.
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "the broker shows the certificate of an authority, which cannot vouch for a host: issue one for the \
             broker with it (CA:FALSE)"
                .to_owned()
        }
        other => format!("the broker's certificate is invalid: {other}"),
    }
}

/// The names of a certificate, which rustls gives as `DnsName("host")` and `IpAddress(127.0.0.1)`.
fn names(presented: &[String]) -> String {
    let bare = presented.iter().map(|name| {
        let inner = name
            .split_once('(')
            .and_then(|(_kind, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"')
    });
    let names: Vec<&str> = bare.collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
