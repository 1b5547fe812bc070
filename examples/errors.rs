//! Errors across a contract: typed where the caller knows them, by name where it does not, and the framework's own.
//!
//!     cargo run --example errors

use std::{error::Error, time::Duration};

use almanet::{Broker, BrokerConfig, CallError, RpcError, Session, service};

/// Why money is not moved.
#[derive(Debug, thiserror::Error, RpcError)]
pub enum TransferError {
    /// There is not enough of it.
    #[error("{missing} are missing")]
    Insufficient {
        /// How much.
        missing: u64,
    },
    /// The account does not take money.
    #[error("the account is closed")]
    Closed,
}

/// What a caller of an earlier version knows of it.
#[derive(Debug, thiserror::Error, RpcError)]
enum OlderTransferError {
    #[error("{missing} are missing")]
    Insufficient { missing: u64 },
}

/// A bank.
#[service(prepath = "net.example.bank")]
pub trait Bank {
    /// Moves money; returns what is left.
    #[procedure]
    async fn transfer(&self, to: String, amount: u64) -> Result<u64, TransferError>;
}

struct SmallBank;

impl Bank for SmallBank {
    async fn transfer(&self, to: String, amount: u64) -> Result<u64, TransferError> {
        const BALANCE: u64 = 100;
        match to.as_str() {
            "nobody" => Err(TransferError::Closed),
            "fire" => panic!("the vault burns: the code was 1234"),
            _ => BALANCE.checked_sub(amount).ok_or(TransferError::Insufficient {
                missing: amount.abs_diff(BALANCE),
            }),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::start(BrokerConfig::default()).await?;
    let session = Session::connect(broker.tcp_addr().to_string()).await?;
    let serving = SmallBank.into_service().start(&session).await?;
    let bank = BankClient::new(&session);

    println!("ok          {}", bank.transfer("Sara".into(), 30).await?);
    // What the procedure returned is matched by its type.
    for (to, amount) in [("Sara", 170), ("nobody", 1)] {
        match bank.transfer(to.into(), amount).await {
            Err(CallError::Remote(error @ TransferError::Insufficient { .. })) => {
                println!("typed       {error}")
            }
            Err(CallError::Remote(TransferError::Closed)) => println!("typed       closed"),
            other => return Err(format!("expected an error, got {other:?}").into()),
        }
    }
    // An older caller has what it does not know by name and payload.
    let payload = Transfer {
        to: "nobody",
        amount: 1,
    };
    let call = session.call::<u64>("net.example.bank.transfer", &payload);
    match call.expecting::<OlderTransferError>().await {
        Err(CallError::Unexpected { error, .. }) => println!("unknown     {}", error.name()),
        other => return Err(format!("expected an unknown error, got {other:?}").into()),
    }
    // What goes wrong beside the procedure has variants of its own.
    let wrong = Wrong {
        to: "Sara",
        amount: "much",
    };
    match session.call::<u64>("net.example.bank.transfer", &wrong).await {
        Err(CallError::InvalidPayload { reason, .. }) => println!("payload     {reason}"),
        other => return Err(format!("expected that the payload is refused, got {other:?}").into()),
    }
    match bank.transfer("fire".into(), 1).await {
        Err(error @ CallError::Internal { .. }) => println!("internal    {error}"),
        other => return Err(format!("expected an internal error, got {other:?}").into()),
    }
    let nobody = session
        .call::<u64>("net.example.nobody", &1)
        .timeout(Duration::from_millis(50));
    match nobody.await {
        Err(CallError::Timeout { procedure, .. }) => println!("timeout     {procedure}"),
        other => return Err(format!("expected a timeout, got {other:?}").into()),
    }

    serving.stop().await;
    session.leave().await?;
    broker.stop().await?;
    Ok(())
}

#[derive(serde::Serialize)]
struct Transfer<'a> {
    to: &'a str,
    amount: u64,
}

#[derive(serde::Serialize)]
struct Wrong<'a> {
    to: &'a str,
    amount: &'a str,
}
