//! Turns a plain socket into a secured one.

use std::{fmt, io, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{builder::TlsBuilder, failure::failure};

/// How connections are encrypted, and how broker and client prove who they are.
///
/// Versions 1.2 and 1.3 are spoken. By default the broker's certificate has to be issued by an authority that the
/// operating system trusts, for the host name or IP address that is connected to.
///
/// ```no_run
/// use almanet_nsq::{ConnectionConfig, Tls};
///
/// # fn main() -> Result<(), almanet_nsq::TlsError> {
/// let tls = Tls::builder()
///     .ca_file("/etc/nsq/ca.pem")
///     .client_certificate_files("/etc/nsq/client.pem", "/etc/nsq/client.key")
///     .build()?;
/// let connection = ConnectionConfig::default().tls(tls);
/// # Ok(())
/// # }
/// ```
///
/// Cheap to clone. Files are read once, by [`build`](TlsBuilder::build).
#[derive(Clone)]
pub struct Tls {
    pub(super) client: Arc<ClientConfig>,
    /// The name that the broker's certificate has to be for; `None` for the host that is connected to.
    pub(super) server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Begins with the operating system's authorities and no client certificate.
    pub fn builder() -> TlsBuilder {
        TlsBuilder::default()
    }

    /// Shakes hands with the peer at `address`; the error is the reason in words.
    pub(crate) async fn connect(
        &self,
        address: &str,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => host_name(address)?,
        };
        let connected = TlsConnector::from(Arc::clone(&self.client))
            .connect(name, socket)
            .await;
        connected.map_err(|error| match failure(&error) {
            Some(reason) => reason,
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                "the peer hung up during the handshake".to_owned()
            }
            None => error.to_string(),
        })
    }
}

impl fmt::Debug for Tls {
    /// Without the private key and all the rest that rustls holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// The host of `host:port`, where IPv6 addresses stand in brackets.
fn host_name(address: &str) -> Result<ServerName<'static>, String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _port)| host);
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    ServerName::try_from(host.to_owned()).map_err(|_| {
        format!(
            "no certificate can be for `{host}`; name the one it is for with `Tls::builder().server_name(..)`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_stands_before_the_port() {
        for (address, host) in [
            ("nsqd.example:4150", "nsqd.example"),
            ("nsqd_1:4150", "nsqd_1"),
            ("127.0.0.1:4150", "127.0.0.1"),
            ("[::1]:4150", "::1"),
        ] {
            assert_eq!(host_name(address).unwrap().to_str(), host);
        }
        let error = host_name("what is this:4150").unwrap_err();
        assert!(error.contains("`what is this`"), "{error}");
    }
}
