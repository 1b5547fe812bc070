//! A contract that callers and services share: a trait, from which both sides are made.
//!
//!     cargo run --example contract
//!
//! The module `contract` would be a crate of its own, which the crates `service` and `caller` depend on and which knows
//! neither. `ALMANET_NSQD=127.0.0.1:4150` uses the nsqd there instead of the embedded broker.

use std::error::Error;

use almanet::{Broker, BrokerConfig, Session};

/// What both sides know: names, types and errors. No code of either.
mod contract {
    use almanet::{RpcError, schemars, service};
    use serde::{Deserialize, Serialize};

    /// An order of one item.
    #[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
    #[schemars(crate = "almanet::schemars")]
    pub struct Order {
        /// What is ordered.
        pub item: String,
        /// How many; one if it is left out, as callers do that are older than this field.
        #[serde(default = "one")]
        pub count: u32,
    }

    fn one() -> u32 {
        1
    }

    /// Why an order is not taken.
    #[derive(Debug, thiserror::Error, RpcError)]
    pub enum OrderError {
        /// There is not enough of it.
        #[error("only {left} of {item} left")]
        SoldOut {
            /// What was ordered.
            item: String,
            /// How many there are.
            left: u32,
        },
    }

    /// A shop.
    #[service(prepath = "net.example.shop")]
    pub trait Shop {
        /// Takes an order; returns how many are left.
        #[procedure]
        async fn order(&self, order: Order) -> Result<u32, OrderError>;

        /// How many there are of an item.
        #[procedure(idempotent, timeout = "2s")]
        async fn stock(&self, item: String) -> u32;

        /// What the shop says when it opens. A service can say something else.
        #[procedure]
        async fn greeting(&self) -> String {
            "Good morning!".to_owned()
        }
    }
}

/// The side that implements it.
mod service {
    use std::{
        collections::HashMap,
        sync::{Mutex, PoisonError},
    };

    use super::contract::{Order, OrderError, Shop};

    /// A shop that keeps its stock in memory.
    pub struct CornerShop {
        stock: Mutex<HashMap<String, u32>>,
    }

    impl CornerShop {
        pub fn new(item: &str, count: u32) -> Self {
            let stock = HashMap::from([(item.to_owned(), count)]);
            Self {
                stock: Mutex::new(stock),
            }
        }
    }

    impl Shop for CornerShop {
        async fn order(&self, Order { item, count }: Order) -> Result<u32, OrderError> {
            let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
            let left = stock.entry(item.clone()).or_default();
            match left.checked_sub(count) {
                Some(rest) => {
                    *left = rest;
                    Ok(rest)
                }
                None => Err(OrderError::SoldOut { item, left: *left }),
            }
        }

        async fn stock(&self, item: String) -> u32 {
            let stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
            stock.get(&item).copied().unwrap_or_default()
        }
    }
}

/// The side that calls. It has the contract, and nothing of the service.
mod caller {
    use std::{error::Error, time::Duration};

    use almanet::{CallError, Session};

    use super::contract::{Order, OrderError, ShopClient};

    pub async fn shop(session: &Session) -> Result<(), Box<dyn Error>> {
        let shop = ShopClient::new(session);
        println!("greeting    {}", shop.greeting().await?);

        let order = |count| Order {
            item: "cake".to_owned(),
            count,
        };
        let left = shop.order(order(2)).timeout(Duration::from_secs(5)).await?;
        println!("ordered     2 cakes, {left} left");
        match shop.order(order(7)).await {
            Err(CallError::Remote(OrderError::SoldOut { item, left })) => {
                println!("sold out    {left} of {item} left");
            }
            other => return Err(format!("expected that 7 cakes are too many, got {other:?}").into()),
        }
        println!("stock       {} cake", shop.stock("cake".to_owned()).await?);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    use contract::Shop as _;

    // An nsqd if one is named, else a broker inside this program.
    let (_broker, address) = match std::env::var("ALMANET_NSQD") {
        Ok(address) => (None, address),
        Err(_) => {
            let broker = Broker::start(BrokerConfig::default()).await?;
            let address = broker.tcp_addr().to_string();
            (Some(broker), address)
        }
    };
    let session = Session::connect(&address).await?;
    let shop = service::CornerShop::new("cake", 3).into_service();
    let serving = shop.start(&session).await?;

    caller::shop(&session).await?;

    // What runs can be asked what it is: here by the program itself, mostly by tools.
    for found in session.introspect().service("net.example.shop").info().await? {
        println!(
            "running     {} with {} procedures",
            found.instance.service,
            found.procedures.len()
        );
    }
    for procedure in session
        .introspect()
        .procedure("net.example.shop.order")
        .schemas()
        .await?
    {
        let errors: Vec<_> = procedure
            .schemas
            .errors
            .iter()
            .map(|error| error.name.as_str())
            .collect();
        println!("errors      {} raises {}", procedure.uri, errors.join(", "));
    }

    serving.stop().await;
    session.leave().await?;
    Ok(())
}
