//! Where the examples find a broker.

use std::error::Error;

use almanet::{Broker, BrokerConfig};

/// The nsqd that `ALMANET_NSQD` names, or a broker inside this program, and its address.
pub async fn broker() -> Result<(Option<Broker>, String), Box<dyn Error>> {
    match std::env::var("ALMANET_NSQD") {
        Ok(address) => Ok((None, address)),
        Err(_) => {
            let broker = Broker::start(BrokerConfig::default()).await?;
            let address = broker.tcp_addr().to_string();
            Ok((Some(broker), address))
        }
    }
}
