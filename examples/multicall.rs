//! Calls that all instances answer, each for itself.
//!
//!     cargo run --example multicall
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded broker.

use std::{
    collections::HashSet,
    error::Error,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use almanet::{Broker, BrokerConfig, MulticallEnd, Session, service};

/// What one instance has in memory.
struct Cache {
    shop: String,
    keys: Mutex<HashSet<String>>,
}

#[service(prepath = "net.example.cache")]
impl Cache {
    /// Which shop this is, and how much it remembers.
    #[procedure(broadcast)]
    async fn size(&self) -> (String, usize) {
        (self.shop.clone(), self.keys().len())
    }

    /// Forgets a key; returns whether it was there.
    #[procedure(broadcast)]
    async fn forget(&self, key: String) -> bool {
        self.keys().remove(&key)
    }
}

impl Cache {
    fn new(shop: &str, keys: &[&str]) -> Self {
        Self {
            shop: shop.to_owned(),
            keys: Mutex::new(keys.iter().map(|&key| key.to_owned()).collect()),
        }
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
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
    // Three programs, in one for the sake of the example.
    let mut shops = Vec::new();
    for (shop, keys) in [
        ("Almaty", &["tea", "cake"][..]),
        ("Bern", &["tea"]),
        ("Cairo", &[]),
    ] {
        let session = Session::connect(&address).await?;
        let service = Cache::new(shop, keys).into_service().start(&session).await?;
        shops.push((service, session));
    }
    let session = Session::connect(&address).await?;
    let caches = CacheClient::new(&session);

    // All answers, until none has come for a while: nobody knows how many there are.
    let answers = caches.size().multicall().quiet(Duration::from_millis(300));
    let mut sizes = Vec::new();
    for answer in answers.timeout(Duration::from_secs(5)).collect().await? {
        sizes.push(answer.outcome?);
    }
    sizes.sort();
    println!("sizes     {sizes:?}");

    // The answers as they come; as many as are known to be there.
    let mut answers = caches.forget("tea".into()).multicall().count(3).await?;
    let mut forgotten = 0;
    while let Some(answer) = answers.next().await {
        // Who answers is one start of a service, as `session.discover()` shows it.
        if answer.outcome? && answer.responder.is_some() {
            forgotten += 1;
        }
    }
    println!("forgotten {forgotten} times");
    assert_eq!(answers.end(), Some(MulticallEnd::Count));

    // The first answer is enough, and the others are told to stop.
    let answers = caches
        .forget("cake".into())
        .multicall()
        .count(1)
        .collect()
        .await?;
    println!("answers   {}", answers.len());

    for (service, session) in shops {
        service.stop().await;
        session.leave().await?;
    }
    session.leave().await?;
    println!("done");
    Ok(())
}
