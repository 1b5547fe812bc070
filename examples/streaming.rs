//! Response streams: items that come one by one, no faster than they are taken.
//!
//!     cargo run --example streaming
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded broker.

mod support;

use std::error::Error;

use almanet::{CallError, RpcError, Session, service};

#[derive(Debug, thiserror::Error, RpcError)]
enum LedgerError {
    #[error("there is no account {account:?}")]
    NoAccount { account: String },
    #[error("page {page} is torn")]
    Torn { page: u32 },
}

/// Books that are too long for one answer.
#[service(prepath = "net.example.ledger")]
mod ledger {
    use futures_util::{Stream, StreamExt as _, stream};

    use super::LedgerError;

    /// The pages of an account.
    #[procedure]
    pub async fn pages(account: String) -> Result<impl Stream<Item = Result<u32, LedgerError>>, LedgerError> {
        if account != "cash" {
            return Err(LedgerError::NoAccount { account });
        }
        Ok(stream::iter(1..).map(|page| match page {
            100 => Err(LedgerError::Torn { page }),
            page => Ok(page),
        }))
    }

    /// Says how far it has been read, for ever, until nobody reads.
    #[procedure]
    pub async fn ticks() -> impl Stream<Item = u32> {
        let told = TellsWhenDropped;
        stream::iter(0..).map(move |tick| {
            let _told = &told;
            tick
        })
    }

    struct TellsWhenDropped;

    impl Drop for TellsWhenDropped {
        fn drop(&mut self) {
            println!("stopped     nobody reads the ticks");
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (_broker, address) = support::broker().await?;
    let session = Session::connect(&address).await?;
    let service = ledger::service().start(&session).await?;

    // The service is at most 8 pages ahead of the reader.
    let mut pages = ledger::pages::stream(&session, "cash".to_owned())
        .credit(8)
        .await?;
    let mut read = 0;
    while let Some(page) = pages.next().await {
        match page {
            Ok(_) => read += 1,
            Err(CallError::Remote(error)) => println!("failed      {error}, behind {read} others"),
            Err(other) => return Err(other.into()),
        }
    }

    // A procedure may fail before its first item.
    let mut none = ledger::pages::stream(&session, "tips".to_owned()).await?;
    if let Some(Err(error)) = none.next().await {
        println!("refused     {error}");
    }

    // Whoever has read enough drops the stream, and that ends it on the other side.
    let mut ticks = ledger::Client::new(&session).ticks().await?;
    for _ in 0..3 {
        if let Some(tick) = ticks.next().await {
            println!("tick        {}", tick?);
        }
    }
    drop(ticks);

    service.stop().await;
    session.leave().await?;
    println!("done");
    Ok(())
}
