//! What to do when a call fails: retries, keys for work that is to be done once, refusals, circuits.
//!
//!     cargo run --example retries
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded broker.

use std::{convert::Infallible, error::Error, time::Duration};

use almanet::{
    Broker, BrokerConfig, CallError, CircuitBreaker, Context, Procedure, Retry, Service, Session, Uri,
    service,
};

/// A bank.
#[service(prepath = "net.example.bank")]
mod bank {
    use std::sync::atomic::{AtomicU32, Ordering};

    static PAYMENTS: AtomicU32 = AtomicU32::new(0);
    static ASKED: AtomicU32 = AtomicU32::new(0);

    /// Pays, and answers with the number of the payment.
    #[procedure]
    pub async fn pay(_amount: u32) -> u32 {
        PAYMENTS.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Tells the rate. The first who asks waits in vain; but asking twice does no harm.
    #[procedure(idempotent)]
    pub async fn rate() -> f64 {
        if ASKED.fetch_add(1, Ordering::Relaxed) == 0 {
            std::future::pending::<()>().await;
        }
        1.25
    }

    /// Fails.
    #[procedure]
    pub async fn audit() {
        panic!("the books are gone");
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
    let breaker = CircuitBreaker::default().least_calls(3);
    let session = Session::builder()
        .address(&address)
        .circuit_breaker(breaker)
        .connect()
        .await?;
    // One counter, which serves one customer at a time, and lets none wait.
    let counter = Procedure::new("net.example.bank.counter", |_: Context, (): ()| async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok::<_, Infallible>("served".to_owned())
    });
    let counter = Service::new().procedure(counter.concurrency(1).queue(0));
    let service = bank::service().merge(counter).start(&session).await?;

    // The caller of an idempotent procedure tries again by itself; here also when an attempt takes too long.
    let policy = Retry::default().attempt_timeout(Duration::from_millis(300));
    let rate = bank::rate::call(&session).retry(policy).await?;
    println!("retried     the rate is {rate}");

    // The key names the payment: it is made once, however often it is asked for.
    for _ in 0..2 {
        let number = bank::pay::call(&session, 100)
            .idempotency_key("invoice 4711")
            .await?;
        println!("keyed       payment {number}");
    }

    // Of two customers at once, one is refused at once; with a policy, it comes again.
    let counter = || session.call::<String>("net.example.bank.counter", &());
    let (one, other) = tokio::join!(counter(), counter());
    for outcome in [one, other] {
        match outcome {
            Ok(text) => println!("counter     {text}"),
            Err(CallError::Overloaded { reason, .. }) => println!("overloaded  {reason}"),
            Err(other) => return Err(other.into()),
        }
    }
    let patient = Retry::default()
        .attempts(100)
        .pauses(Duration::from_millis(50), Duration::from_millis(50));
    let (one, other) = tokio::join!(counter().retry(patient), counter().retry(patient));
    println!("patient     {} and {}", one?, other?);

    // What fails again and again is left alone for a while.
    let audit = Uri::new(bank::audit::URI)?;
    for _ in 0..4 {
        match bank::audit::call(&session).await {
            Err(error) => println!("circuit     {}: {error}", session.circuit(&audit)),
            Ok(()) => println!("surprise    the books are there"),
        }
    }
    service.stop().await;
    session.leave().await?;
    println!("done");
    Ok(())
}
