//! A TCP proxy between a client and a broker that does harm on demand.
//!
//! What is set holds for all connections through the proxy, those that are open and those that come. Each fault has a
//! signal to wait for ([`Proxy::until`] and what is built on it), so that no test has to sleep.
//!
//! - `handle`: what a test holds and says.
//! - `settings`: what was said, as the connections read it.
//! - `counts`: what has happened.
//! - `relay`: one connection.
//! - `boundary`: where in the broker's bytes a frame ends.

mod boundary;
mod counts;
mod handle;
mod relay;
mod settings;

pub use counts::Counts;
pub use handle::Proxy;
pub use settings::{Cut, Direction};
