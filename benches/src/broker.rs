//! The broker that a benchmark runs over.

use almanet::{Broker, BrokerConfig};

use crate::Failure;

/// A broker that listens, for as long as this lives if it is this process's own.
#[derive(Debug)]
pub struct Reached {
    pub address: String,
    _embedded: Option<Broker>,
}

/// The nsqd at the address `nsqd`, or a new broker in this process when that is the word `embedded`.
pub async fn reach(nsqd: &str) -> Result<Reached, Failure> {
    if nsqd != "embedded" {
        return Ok(Reached {
            address: nsqd.to_owned(),
            _embedded: None,
        });
    }
    let broker = Broker::start(BrokerConfig::default()).await?;
    Ok(Reached {
        address: broker.tcp_addr().to_string(),
        _embedded: Some(broker),
    })
}
