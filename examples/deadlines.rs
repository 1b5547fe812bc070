//! Deadlines and cancellation: time that travels along, and work that stops when nobody waits for it.
//!
//!     cargo run --example deadlines
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded broker.

use std::{error::Error, time::Duration};

use almanet::{Broker, BrokerConfig, CallError, Session, service};

/// A shop whose supplier is slow.
#[service(prepath = "net.example.slow")]
mod shop {
    use std::time::Duration;

    use almanet::Context;

    /// Orders something, which the supplier has to deliver.
    #[procedure]
    pub async fn order(context: Context, item: String) -> String {
        // The supplier's deadline is this call's own: it sees what is left of it.
        match deliver::call(context.session(), item).await {
            Ok(delivered) => delivered,
            // It had all the time that there was: this call is about to be dropped, too.
            Err(_) => std::future::pending().await,
        }
    }

    /// Delivers in a minute, if anybody waits so long.
    #[procedure]
    pub async fn deliver(context: Context, item: String) -> String {
        let left = context.remaining().unwrap_or_default();
        println!(
            "delivering  {item}, for which there are {:.0} seconds",
            left.as_secs_f64()
        );
        let _says_so = SaysWhenDropped(item.clone());
        tokio::time::sleep(Duration::from_secs(60)).await;
        item
    }

    struct SaysWhenDropped(String);

    impl Drop for SaysWhenDropped {
        fn drop(&mut self) {
            println!("stopped     delivering {}", self.0);
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (_broker, address) = match std::env::var("ALMANET_NSQD") {
        Ok(address) => (None, address),
        Err(_) => {
            let broker = Broker::start(BrokerConfig::default()).await?;
            let address = broker.tcp_addr().to_string();
            (Some(broker), address)
        }
    };
    let session = Session::connect(&address).await?;
    let service = shop::service().start(&session).await?;

    // The deadline reaches the supplier by way of the shop, and ends both.
    let call = shop::order::call(&session, "tea".to_owned()).timeout(Duration::from_secs(1));
    match call.await {
        Err(CallError::Timeout { procedure, .. }) => println!("timeout     {procedure}"),
        other => println!("surprise    {other:?}"),
    }

    // A call that is dropped before its deadline is cancelled: the supplier stops too.
    let call = shop::order::call(&session, "cake".to_owned()).timeout(Duration::from_secs(30));
    if tokio::time::timeout(Duration::from_secs(1), call).await.is_err() {
        println!("dropped     the call for cake");
    }
    // The service drains: what still runs when it stops is waited for.
    service.stop().await;
    session.leave().await?;
    println!("done");
    Ok(())
}
