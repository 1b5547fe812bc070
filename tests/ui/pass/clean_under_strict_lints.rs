//! Generated code gives no warning, whatever the user denies.
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, missing_debug_implementations, unused)]
#![deny(single_use_lifetimes, unused_lifetimes, elided_lifetimes_in_paths, let_underscore_drop)]

use almanet::{Context, Event, RpcError, procedure, service};
use serde::{Deserialize, Serialize};

/// An error.
#[derive(Debug, thiserror::Error, RpcError)]
pub enum GreetError {
    /// Not welcome.
    #[error("{name} is not welcome")]
    Denied {
        /// Who.
        name: String,
    },
    /// Nobody.
    #[error("nobody")]
    Nobody,
    /// Too many.
    #[error("{0} of {1}")]
    TooMany(u32, u32),
}

/// An event.
#[derive(Debug, Serialize, Deserialize, Event)]
#[event(topic = "net.example.joined")]
pub struct Joined {
    name: String,
}

/// Greets.
#[procedure(uri = "net.example.alone", timeout = "5s", concurrency = 8, idempotent, hidden, channel = "one")]
pub async fn alone(context: &Context, name: String, times: u8) -> Result<String, GreetError> {
    match (context.attempt(), times) {
        (0, _) => Err(GreetError::Nobody),
        (_, 0) => Err(GreetError::Denied { name }),
        _ => Ok(name),
    }
}

#[procedure(uri = "net.example.private")]
async fn private(_name: String) {}

/// Arithmetic.
#[service(prepath = "net.example")]
pub mod arithmetic {
    /// Adds.
    #[procedure(tags("math", "sum"))]
    pub async fn add(left: i64, right: i64) -> i64 {
        left + right
    }

    struct Hidden;

    #[procedure]
    async fn secret() -> u8 {
        let Hidden = Hidden;
        7
    }
}

/// Counts.
#[derive(Debug)]
pub struct Counter;

/// Counting.
#[service(prepath = "net.example.counter", client = "Counting")]
impl Counter {
    /// Counts.
    #[procedure(tags = ["math"])]
    pub async fn count(&self, number: i64) -> i64 {
        number
    }

    #[procedure]
    async fn free(context: Context) -> u16 {
        context.attempt()
    }
}

/// A contract.
#[service(prepath = "net.example.contract")]
pub trait Greeter {
    /// Greets.
    #[procedure(timeout = "5s")]
    async fn greet(&self, context: &Context, name: String) -> Result<String, GreetError>;

    /// Adds.
    #[procedure]
    async fn add(&self, left: i64, #[serde(default)] right: i64) -> i64 {
        left + right
    }

    /// Does nothing.
    #[procedure]
    async fn nothing() {}
}

impl Greeter for Counter {
    async fn greet(&self, context: &Context, name: String) -> Result<String, GreetError> {
        alone(context, name, 1).await
    }
}

#[service(prepath = "net.example.private")]
trait Private {
    #[procedure]
    async fn secret(&self, name: String);
}

impl Private for Counter {
    async fn secret(&self, _: String) {}
}

#[allow(let_underscore_drop)]
fn main() {
    let _ = arithmetic::service();
    let _ = Counter.into_service();
    let _ = Greeter::into_service(Counter).merge(Private::into_service(Counter));
    let _ = alone::procedure();
    let _ = Joined { name: String::new() }.name;
    assert_eq!(private::URI, "net.example.private");
}
