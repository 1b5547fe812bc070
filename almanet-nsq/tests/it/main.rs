//! What a user of the crate sees: against a scripted peer for everything that can go wrong, against a broker for the rest.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod connecting;
mod consuming;
mod flow;
mod lookup;
mod lookupd;
mod peer;
mod publishing;
mod with_broker;
