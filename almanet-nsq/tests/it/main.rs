//! What a user of the crate sees: against a scripted peer for everything that can go wrong, against a broker for the rest.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod authenticating;
#[cfg(feature = "tls")]
mod certificates;
mod compressing;
mod connecting;
mod consuming;
mod flow;
mod lookup;
mod lookupd;
mod merging;
mod packing;
mod peer;
mod publishing;
mod queueing;
#[cfg(feature = "tls")]
mod securing;
#[cfg(feature = "tls")]
mod securing_with_broker;
#[cfg(feature = "tls")]
mod tls_peer;
#[cfg(feature = "tls")]
mod trusting;
mod with_broker;
