//! One nsqlookupd, and whether it answers.

use std::{collections::BTreeSet, mem::discriminant, sync::Arc};

use hyper::{StatusCode, http::uri::Authority};
use tracing::{info, warn};

use super::{
    answer::{Listed, is_unknown_topic, listed},
    error::LookupError,
    http::{Limits, ask},
};

/// One nsqlookupd, asked again and again.
#[derive(Debug)]
pub(super) struct Lookupd {
    address: Arc<str>,
    limits: Limits,
    /// What was wrong with the last answer.
    trouble: Option<LookupError>,
    /// How many entries of the last answer could not be used.
    unusable: usize,
}

impl Lookupd {
    pub(super) fn new(address: Arc<str>, limits: Limits) -> Self {
        Self {
            address,
            limits,
            trouble: None,
            unusable: 0,
        }
    }

    /// The nodes that it lists at `path`. The log tells when it begins to fail and when it answers again.
    pub(super) async fn nodes(&mut self, path: &str) -> Result<BTreeSet<Arc<str>>, LookupError> {
        let answer = self.ask(path).await;
        match (&answer, &self.trouble) {
            (Ok(_), Some(_)) => info!(lookupd = %self.address, "nsqlookupd answers again"),
            (Err(error), trouble) if trouble.as_ref().map(discriminant) != Some(discriminant(error)) => {
                warn!(lookupd = %self.address, %error, "no usable answer from nsqlookupd, keeping the nodes that are known");
            }
            (Ok(_), None) | (Err(_), _) => {}
        }
        self.trouble = answer.as_ref().err().cloned();
        let Listed { nodes, unusable } = answer?;
        if unusable > self.unusable {
            warn!(lookupd = %self.address, unusable, "nsqlookupd lists nodes without a usable address");
        }
        self.unusable = unusable;
        Ok(nodes)
    }

    async fn ask(&self, path: &str) -> Result<Listed, LookupError> {
        let not_lookupd = |cause| LookupError::NotLookupd {
            address: self.address.to_string(),
            cause,
        };
        let (status, body) = ask(&self.address, path, self.limits).await?;
        match status {
            StatusCode::OK => listed(&body).map_err(not_lookupd),
            StatusCode::NOT_FOUND if is_unknown_topic(&body) => Ok(Listed::default()),
            status => Err(not_lookupd(format!("it answers with the status {status}"))),
        }
    }
}

/// Reads `host:port`, with or without `http://` before it.
pub(super) fn parse_address(given: &str) -> Result<Arc<str>, LookupError> {
    let invalid = |reason| LookupError::InvalidAddress {
        address: given.to_owned(),
        reason,
    };
    let rest = match given.split_once("://") {
        None => given,
        Some(("http", rest)) => rest,
        Some(_) => return Err(invalid("only http is spoken; write it as host:port")),
    };
    let authority: Authority = rest
        .strip_suffix('/')
        .unwrap_or(rest)
        .parse()
        .map_err(|_| invalid("write it as host:port"))?;
    let is_plain = !authority.host().is_empty() && !authority.as_str().contains('@');
    match authority.port_u16() {
        Some(1..) if is_plain => Ok(authority.as_str().into()),
        Some(_) => Err(invalid("write it as host:port")),
        None => Err(invalid(
            "it has no port; nsqlookupd's HTTP port is 4161 by default",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port_with_or_without_http() {
        for (given, address) in [
            ("lookup-1:4161", "lookup-1:4161"),
            ("http://10.0.0.1:4161", "10.0.0.1:4161"),
            ("http://10.0.0.1:4161/", "10.0.0.1:4161"),
            ("[::1]:4161", "[::1]:4161"),
        ] {
            assert_eq!(parse_address(given).as_deref(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        for given in [
            "",
            "a",
            ":4161",
            "a:0",
            "a:99999",
            "a b:1",
            "me@a:1",
            "https://a:1",
            "a:1/nodes",
        ] {
            let Err(error) = parse_address(given) else {
                panic!("{given:?} was taken");
            };
            assert!(error.to_string().contains(&format!("{given:?}")), "{error}");
        }
    }
}
