//! For the tests of programs that use Almanet: a broker, a service and a session in one line, and faults at will.
//!
//! ```
//! use almanet::{service, testing::TestBed};
//!
//! #[service(prepath = "net.example")]
//! mod greetings {
//!     #[procedure]
//!     pub async fn greet(name: String) -> String {
//!         format!("Hello, {name}!")
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bed = TestBed::in_memory(greetings::service()).await?;
//! assert_eq!(greetings::greet::call(bed.session(), "Aidar".into()).await?, "Hello, Aidar!");
//! # Ok(())
//! # }
//! ```
//!
//! Everything is ready when a [`TestBed`] is there, so tests need no sleeps. [`TestBed::start`] runs over real embedded
//! brokers and sockets, whose nodes can be killed and started again; [`TestBed::in_memory`] over a [`MemoryBroker`] without
//! any, so that tokio's paused clock works: a timeout of a minute passes in no time. [`Faults`] drop, delay, duplicate or
//! refuse what is published, in both.
//!
//! `docs/testing.md` is the guide.

mod bed;
mod fault;
mod faulty;
mod memory;

pub use bed::{TestBed, TestBedBuilder, TestBedError};
pub use fault::{Fault, Faults};
pub use memory::{MemoryBroker, MemoryTransport};
