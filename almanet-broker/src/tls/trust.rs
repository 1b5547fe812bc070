//! Whom the broker believes as a client: the servers that it asks over https.

use std::{fmt, io, path::PathBuf, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{InvalidDnsNameError, ServerName},
    },
};

use super::{TlsVersion, error::TlsError, pem::Pem};

/// The authorities that issue servers' certificates: those that are named, or else those of the operating system.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    authorities: Vec<Pem>,
    /// Once they are loaded.
    client: Option<Arc<ClientConfig>>,
}

impl Trust {
    pub(crate) fn add_file(&mut self, path: PathBuf) {
        self.authorities.push(Pem::File(path));
    }

    pub(crate) fn add_pem(&mut self, pem: Vec<u8>) {
        self.authorities.push(Pem::Given("the given CA", pem));
    }

    /// Reads the certificates of the authorities. It blocks.
    pub(crate) fn load(&mut self, min_version: TlsVersion) -> Result<(), TlsError> {
        let roots = if self.authorities.is_empty() {
            system_roots()?
        } else {
            Pem::roots(&self.authorities)?
        };
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(min_version.and_newer())
            .map_err(|error| TlsError::Unsupported {
                cause: error.to_string(),
            })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        self.client = Some(Arc::new(client));
        Ok(())
    }

    /// Makes a connection to the server `name` an encrypted one.
    pub(crate) async fn connect(&self, name: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let client = self
            .client
            .clone()
            .ok_or_else(|| io::Error::other("no authority is loaded"))?;
        let name = ServerName::try_from(name.to_owned())
            .map_err(|error: InvalidDnsNameError| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(client).connect(name, stream).await
    }
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

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trust").field(&self.authorities).finish()
    }
}
