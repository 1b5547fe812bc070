//! Middleware: a layer of one's own that authorises by a header, one that sends the header, and limits.
//!
//!     cargo run --example middleware
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded broker.

use std::error::Error;

use almanet::{
    Broker, BrokerConfig, CallError, Caller, OutgoingCall, Request, RpcError, Session,
    layer::{self, ConcurrencyLimitLayer, LoadShedLayer, Next},
    service,
};

/// Why a call is not let pass. Its caller matches it by type, as if the procedure had returned it.
#[derive(Debug, thiserror::Error, RpcError)]
enum AccessError {
    #[error("authorization is missing: send `Bearer <token>`")]
    Missing,
    #[error("{who} may not see the account of {owner}")]
    Denied { who: String, owner: String },
}

/// Accounts, one for each person.
#[service(prepath = "net.example.accounts")]
mod accounts {
    /// The balance of an account.
    #[procedure]
    pub async fn balance(owner: String) -> String {
        if owner == "slow" {
            // Takes up the only place for as long as its caller waits.
            std::future::pending().await
        }
        format!("the balance of {owner} is 100")
    }
}

/// Whose token it is. A real one would be checked by its signature.
fn owner_of(authorization: &str) -> Option<&str> {
    authorization.strip_prefix("Bearer token-of-")
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

    // The service: each call is authorised first, and what is above the limit is refused instead of queued.
    let authorised = layer::from_fn(|request: Request, next: Next| async move {
        let headers = request.context.headers();
        let Some(who) = headers.get("authorization").and_then(owner_of) else {
            return Err(request.raise(&AccessError::Missing));
        };
        match request.payload.decode::<String>() {
            Ok(owner) if owner != who && owner != "slow" => {
                let who = who.to_owned();
                Err(request.raise(&AccessError::Denied { who, owner }))
            }
            // What does not decode is for the procedure to refuse.
            _ => next.run(request).await,
        }
    });
    let serving = Session::connect(&address).await?;
    let service = accounts::service()
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(LoadShedLayer::new())
        .layer(authorised)
        .grace(std::time::Duration::ZERO)
        .start(&serving)
        .await?;

    // A session whose every call carries a token.
    let with_token = |token: &'static str| {
        layer::from_fn(move |mut call: OutgoingCall, next: Next<Caller>| {
            call.headers.insert("authorization", format!("Bearer {token}"));
            next.run(call)
        })
    };
    let alice = Session::builder()
        .address(&address)
        .layer(with_token("token-of-alice"))
        .connect()
        .await?;
    let balance = accounts::balance::call(&alice, "alice".into()).await?;
    println!("with a token     {balance}");

    let nobody = Session::connect(&address).await?;
    let bob = Session::builder()
        .address(&address)
        .layer(with_token("token-of-bob"))
        .connect()
        .await?;
    for (what, session) in [("without one", &nobody), ("of another", &bob)] {
        let call = session.call::<String>("net.example.accounts.balance", "alice");
        match call.expecting::<AccessError>().await {
            Err(CallError::Remote(error)) => println!("{what:<16} {error}"),
            other => return Err(format!("expected that it is refused, got {other:?}").into()),
        }
    }

    // Two calls for one place: the one that comes second is refused at once.
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..2 {
        slow.spawn(accounts::balance::call(&alice, "slow".into()).into_future());
    }
    match slow.join_next().await {
        Some(Ok(Err(error @ CallError::Overloaded { .. }))) => println!("one at a time    {error}"),
        other => return Err(format!("expected that one is refused, got {other:?}").into()),
    }

    slow.shutdown().await;
    service.stop().await;
    for session in [alice, bob, nobody, serving] {
        session.leave().await?;
    }
    Ok(())
}
