//! Broadcast cache invalidation: every instance hears of every change, and forgets what it had cached.
//!
//!     cargo run --example cache_invalidation
//!
//! `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded broker. A module of one program that wants the
//! same without any broker uses `Session::builder().transport(InProcessTransport::new())`: nothing else changes.

mod support;

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
};

use almanet::{Event, EventContext, PushConsumer, ServiceHandle, Session};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

#[derive(Debug, Serialize, Deserialize, Event)]
#[event(topic = "example.cache.price_changed")]
struct PriceChanged {
    article: String,
}

/// One instance of the shop, with prices that it remembers.
struct Shop {
    prices: Arc<Mutex<HashMap<String, u32>>>,
    forgot: Arc<Notify>,
    _listening: ServiceHandle,
}

impl Shop {
    async fn open(address: &str) -> Result<Self, Box<dyn Error>> {
        let session = Session::connect(address).await?;
        let prices = Arc::new(Mutex::new(HashMap::new()));
        let forgot = Arc::new(Notify::new());
        let listening = PushConsumer::broadcast(PriceChanged::TOPIC, {
            let (prices, forgot) = (Arc::clone(&prices), Arc::clone(&forgot));
            move |_: EventContext, change: PriceChanged| {
                prices
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&change.article);
                forgot.notify_one();
                async {}
            }
        });
        let listening = listening.start(&session).await?;
        // Only now: it hears of no change from before it listened.
        prices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend([("tea".to_owned(), 3), ("cake".to_owned(), 4)]);
        Ok(Self {
            prices,
            forgot,
            _listening: listening,
        })
    }

    fn remembers(&self, article: &str) -> bool {
        let prices = self.prices.lock().unwrap_or_else(PoisonError::into_inner);
        prices.contains_key(article)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (_broker, address) = support::broker().await?;
    let shops = [
        Shop::open(&address).await?,
        Shop::open(&address).await?,
        Shop::open(&address).await?,
    ];
    let office = Session::connect(&address).await?;
    let article = "tea".to_owned();
    office.emit(&PriceChanged { article }).await?;
    for (number, shop) in shops.iter().enumerate() {
        shop.forgot.notified().await;
        println!(
            "shop {number} remembers tea: {}, cake: {}",
            shop.remembers("tea"),
            shop.remembers("cake")
        );
    }
    office.leave().await?;
    Ok(())
}
