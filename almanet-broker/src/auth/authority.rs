//! Whom the broker believes about secrets.

use std::{fmt, fs, net::IpAddr, path::PathBuf, sync::Arc, time::Instant};

use almanet_nsq_proto::Secret;
use bytes::Bytes;
use form_urlencoded::byte_serialize;
use subtle::ConstantTimeEq;

use super::{
    error::AuthError,
    grant::{Answer, Grant},
};
use crate::http_client::{Address, AddressError, HttpClient};

/// Whom the broker believes about the secrets that clients send with AUTH, to be given to
/// [`BrokerConfig::auth`](crate::BrokerConfig::auth).
///
/// ```
/// use almanet_broker::{Auth, BrokerConfig};
///
/// # fn main() -> Result<(), almanet_broker::AuthError> {
/// let config = BrokerConfig::default().auth(Auth::http(["127.0.0.1:4181"])?);
/// # let _ = config;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Auth(Kind);

#[derive(Clone)]
enum Kind {
    Secret(Secret),
    Servers(Arc<[Address]>),
}

impl Auth {
    /// Whoever knows `secret` may do everything, and nobody else anything. nsqd does not have this.
    ///
    /// # Errors
    ///
    /// [`AuthError::Empty`].
    pub fn secret(secret: impl Into<Bytes>) -> Result<Self, AuthError> {
        let secret = secret.into();
        if secret.is_empty() {
            return Err(AuthError::Empty);
        }
        Ok(Self(Kind::Secret(Secret::new(secret))))
    }

    /// [`secret`](Self::secret) with what is in a file, without the white space at its ends.
    ///
    /// # Errors
    ///
    /// [`AuthError::Unreadable`] and [`AuthError::Empty`].
    pub fn secret_file(path: impl Into<PathBuf>) -> Result<Self, AuthError> {
        let path = path.into();
        match fs::read(&path) {
            Ok(text) => Self::secret(text.trim_ascii().to_vec()),
            Err(source) => Err(AuthError::Unreadable { path, source }),
        }
    }

    /// HTTP servers say what a secret allows, as for nsqd's `--auth-http-address`.
    ///
    /// Each address is `host:port`, which is asked for `/auth`, or a URL with `http`, or with `https` where the broker is
    /// built with the feature `tls`; whose certificates are believed then says
    /// `BrokerConfig::http_client_root_ca_file`. One of them is asked, chosen at
    /// random, and the next one when it does not answer properly: with `GET` and the parameters `secret`, `remote_ip`,
    /// `tls` (`true` or `false`) and `common_name` (of the client's certificate). The answer is what nsqd expects: a JSON
    /// object with `ttl` (seconds, after which it is asked again), `identity`, `identity_url` and `authorizations`, each
    /// with `topic` and `channels` (regular expressions) and `permissions` (`publish`, `subscribe`).
    ///
    /// Redirections are not followed. The secret is in the URL: a server that logs its requests logs the secrets too.
    ///
    /// # Errors
    ///
    /// [`AuthError::NoServer`], [`AuthError::Address`] and [`AuthError::NoTls`].
    pub fn http<T: AsRef<str>>(addresses: impl IntoIterator<Item = T>) -> Result<Self, AuthError> {
        let servers: Arc<[Address]> = addresses
            .into_iter()
            .map(|address| parse(address.as_ref()))
            .collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(AuthError::NoServer);
        }
        Ok(Self(Kind::Servers(servers)))
    }

    /// Whether a server is asked over https.
    #[cfg(feature = "tls")]
    pub(crate) fn needs_tls(&self) -> bool {
        match &self.0 {
            Kind::Secret(_) => false,
            Kind::Servers(servers) => servers.iter().any(Address::is_secure),
        }
    }

    /// What `secret` allows `asker`; servers are asked through `client`.
    pub(crate) async fn ask(
        &self,
        secret: &Secret,
        asker: &Asker,
        client: &HttpClient,
    ) -> Result<Grant, AskError> {
        match &self.0 {
            Kind::Secret(known) => {
                if bool::from(known.reveal().ct_eq(secret.reveal())) {
                    Grant::everything().map_err(|error| AskError(error.to_string()))
                } else {
                    Ok(Grant::nothing())
                }
            }
            Kind::Servers(servers) => ask_any(servers, secret, asker, client).await,
        }
    }
}

/// The path that nsqd asks where the address names none.
const DEFAULT_PATH: &str = "/auth";

fn parse(text: &str) -> Result<Address, AuthError> {
    let address = text.to_owned();
    Address::parse(text, DEFAULT_PATH).map_err(|error| match error {
        AddressError::Malformed => AuthError::Address { address },
        AddressError::NoTls => AuthError::NoTls { address },
    })
}

async fn ask_any(
    servers: &[Address],
    secret: &Secret,
    asker: &Asker,
    client: &HttpClient,
) -> Result<Grant, AskError> {
    let first = fastrand::usize(..servers.len().max(1));
    let (before, after) = servers.split_at_checked(first).unwrap_or_default();
    let mut causes = Vec::new();
    for server in after.iter().chain(before) {
        let answered = match client.get::<Answer>(server, target(server, secret, asker)).await {
            Ok(answer) => Grant::new(answer, Instant::now()).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match answered {
            Ok(grant) => return Ok(grant),
            Err(cause) => causes.push(format!("{}: {cause}", server.authority())),
        }
    }
    Err(AskError(causes.join("; ")))
}

/// The path and the question, in nsqd's order.
fn target(server: &Address, secret: &Secret, asker: &Asker) -> String {
    let encode = |bytes| byte_serialize(bytes).collect::<String>();
    format!(
        "{}?common_name={}&remote_ip={}&secret={}&tls={}",
        server.path(),
        encode(asker.common_name.as_bytes()),
        encode(asker.remote_ip.as_bytes()),
        encode(secret.reveal()),
        asker.tls
    )
}

impl fmt::Debug for Auth {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Secret(_) => f.write_str("Secret(..)"),
            Kind::Servers(servers) => f.debug_tuple("Servers").field(servers).finish(),
        }
    }
}

/// What an auth server is told about the client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asker {
    pub(crate) remote_ip: String,
    pub(crate) tls: bool,
    pub(crate) common_name: String,
}

impl Asker {
    pub(crate) fn new(remote: IpAddr) -> Self {
        Self {
            remote_ip: remote.to_string(),
            ..Self::default()
        }
    }
}

/// Nobody could say what a secret allows; each server's reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct AskError(String);
