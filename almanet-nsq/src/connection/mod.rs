//! One connection to a broker: made in [`handshake`] and [`upgrade`], run by [`driver`], made again by [`supervise`].
//! [`event`] is what an observer is told about it, and [`repeated`] what must not reach it.
//!
//! Nothing here knows what a connection is used for. The producer and the consumer say what goes out
//! ([`Outgoing`]), what becomes of what comes in ([`Incoming`]), and what happens when a connection begins and ends
//! ([`Endpoint`]).

mod backoff;
mod driver;
mod event;
mod handshake;
mod lost;
mod pending;
mod repeated;
mod stream;
mod supervise;
mod talk;
mod upgrade;

#[cfg(test)]
pub(crate) use driver::write_out;
pub(crate) use driver::{BATCH_BYTES, Ended, Incoming, Outgoing};
pub(crate) use event::Observer;
pub use event::{ConnectionChange, ConnectionEvent, ConnectionRole};
pub(crate) use handshake::{Established, Purpose, connect};
pub(crate) use lost::Lost;
pub(crate) use pending::Pending;
pub(crate) use supervise::{Endpoint, Stop, supervise, tell};
