//! What the values of flags mean.

use std::{
    fmt::Display,
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
    str::FromStr,
};

/// A whole number.
pub(crate) fn number<N: FromStr<Err: Display>>(text: &str) -> Result<N, String> {
    text.parse().map_err(|error: N::Err| error.to_string())
}

/// A truth value, in the words that Go takes for one.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

/// A level of deflate.
pub(crate) fn level(text: &str) -> Result<u8, String> {
    number(text).and_then(|level| match level {
        1..=9 => Ok(level),
        _ => Err("it is not in 1..=9".to_owned()),
    })
}

/// `host:port`, or `:port` for all interfaces.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix(':') {
        let port = port
            .parse()
            .map_err(|error| format!("port {port:?} is no port number: {error}"))?;
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    text.to_socket_addrs()
        .map_err(|error| error.to_string())?
        .next()
        .ok_or_else(|| "the name has no address".to_owned())
}

/// `host:port`, which is not resolved yet: the host may come up later.
pub(crate) fn host_and_port(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0) => {
            Ok(text.to_owned())
        }
        _ => Err("write it as host:port".to_owned()),
    }
}
