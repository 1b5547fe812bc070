//! Where an auth server is asked.

use super::error::AuthError;

/// The path that nsqd asks where the address names none.
const DEFAULT_PATH: &str = "/auth";

/// The address of one auth server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `host:port`, to connect to.
    pub(super) address: String,
    /// As the address names it, for the header.
    pub(super) host: String,
    pub(super) path: String,
}

impl Endpoint {
    /// Reads `host:port` or a URL.
    pub(super) fn parse(text: &str) -> Result<Self, AuthError> {
        let bad = || AuthError::Address {
            address: text.to_owned(),
        };
        let (host, path) = match text.split_once("://") {
            Some(("http", rest)) => match rest.find(['/', '?']) {
                Some(at) => rest.split_at_checked(at).ok_or_else(bad)?,
                None => (rest, "/"),
            },
            Some(_) => return Err(bad()),
            None => (text, DEFAULT_PATH),
        };
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        let is_url = text.contains("://");
        let address = match port_of(host) {
            Some(port) if port.parse::<u16>().is_ok() => host.to_owned(),
            None if is_url => format!("{host}:80"),
            _ => return Err(bad()),
        };
        let is_sound = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_sound(host) || address.starts_with(':') || host.contains('@') || !is_sound(&path) {
            return Err(bad());
        }
        Ok(Self {
            address,
            host: host.to_owned(),
            path,
        })
    }
}

/// What follows the last colon, unless that is inside an IPv6 address.
fn port_of(host: &str) -> Option<&str> {
    let (_, port) = host.rsplit_once(':')?;
    (!port.ends_with(']')).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_nsqd_reads_them() {
        for (text, address, path) in [
            ("127.0.0.1:4181", "127.0.0.1:4181", "/auth"),
            ("auth.local:80", "auth.local:80", "/auth"),
            ("[::1]:4181", "[::1]:4181", "/auth"),
            ("http://auth.local", "auth.local:80", "/"),
            ("http://[::1]/who", "[::1]:80", "/who"),
            ("http://auth.local:8080/v1/check", "auth.local:8080", "/v1/check"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(
                (endpoint.address.as_str(), endpoint.path.as_str()),
                (address, path)
            );
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for text in [
            "",
            "auth.local",
            ":80",
            "a:b",
            "https://auth.local/",
            "http://",
            "http://me@a:80/",
            "a b:80",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }
}
