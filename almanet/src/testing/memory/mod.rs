//! A broker without sockets, for tests with a paused clock.

mod queue;
mod transport;

pub use transport::{MemoryBroker, MemoryTransport};
