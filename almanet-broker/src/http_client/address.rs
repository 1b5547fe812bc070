//! Where a server is asked.

/// The address of one HTTP server, and the path at which it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// `host:port`, to connect to.
    authority: String,
    /// As the address names it, for the header.
    host: String,
    path: String,
    #[cfg(feature = "tls")]
    is_secure: bool,
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressError {
    /// It is neither `host:port` nor a URL that can be asked.
    Malformed,
    /// It is a URL with https, and there is no TLS.
    NoTls,
}

impl Address {
    /// Reads `host:port`, which is asked at `default_path`, or a URL, as nsqd does.
    pub(crate) fn parse(text: &str, default_path: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let default_port = match scheme {
            None => None,
            Some("http") => Some(80),
            Some("https") if cfg!(feature = "tls") => Some(443),
            Some("https") => return Err(AddressError::NoTls),
            Some(_) => return Err(AddressError::Malformed),
        };
        let (host, path) = match rest.find(['/', '?']) {
            Some(at) if scheme.is_some() => rest.split_at_checked(at).ok_or(AddressError::Malformed)?,
            _ if scheme.is_some() => (rest, "/"),
            _ => (rest, default_path),
        };
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        let authority = match (port_of(host), default_port) {
            (Some(port), _) if port.parse::<u16>().is_ok() => host.to_owned(),
            (None, Some(port)) => format!("{host}:{port}"),
            _ => return Err(AddressError::Malformed),
        };
        let is_sound = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_sound(host) || authority.starts_with(':') || host.contains('@') || !is_sound(&path) {
            return Err(AddressError::Malformed);
        }
        Ok(Self {
            authority,
            host: host.to_owned(),
            path,
            #[cfg(feature = "tls")]
            is_secure: scheme == Some("https"),
        })
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is asked over https.
    #[cfg(feature = "tls")]
    pub(crate) fn is_secure(&self) -> bool {
        self.is_secure
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The name for which a certificate has to be.
    #[cfg(feature = "tls")]
    pub(super) fn server_name(&self) -> &str {
        let name = self.authority.rsplit_once(':').map_or("", |(name, _)| name);
        name.trim_start_matches('[').trim_end_matches(']')
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
        for (text, authority, path) in [
            ("127.0.0.1:4181", "127.0.0.1:4181", "/auth"),
            ("auth.local:80", "auth.local:80", "/auth"),
            ("[::1]:4181", "[::1]:4181", "/auth"),
            ("http://auth.local", "auth.local:80", "/"),
            ("http://[::1]/who", "[::1]:80", "/who"),
            ("http://auth.local:8080/v1/check", "auth.local:8080", "/v1/check"),
        ] {
            let address = Address::parse(text, "/auth").unwrap();
            assert_eq!((address.authority(), address.path()), (authority, path));
            #[cfg(feature = "tls")]
            assert!(!address.is_secure());
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn https_has_its_own_port_and_a_name_to_verify() {
        for (text, authority, name) in [
            ("https://auth.local", "auth.local:443", "auth.local"),
            ("https://auth.local:8443/who", "auth.local:8443", "auth.local"),
            ("https://[::1]/", "[::1]:443", "::1"),
        ] {
            let address = Address::parse(text, "/auth").unwrap();
            assert_eq!((address.authority(), address.server_name()), (authority, name));
            assert!(address.is_secure());
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn https_needs_tls() {
        assert_eq!(
            Address::parse("https://auth.local/", "/auth"),
            Err(AddressError::NoTls)
        );
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for text in [
            "",
            "auth.local",
            ":80",
            "a:b",
            "ftp://auth.local/",
            "http://",
            "http://me@a:80/",
            "a b:80",
            "a:80/path",
        ] {
            let read = Address::parse(text, "/auth");
            assert_eq!(read, Err(AddressError::Malformed), "{text}");
        }
    }
}
