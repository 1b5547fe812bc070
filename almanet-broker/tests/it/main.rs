//! The broker's behaviour in bytes over TCP.
//!
//! With `ALMANET_TEST_NSQD=host:port` in the environment, all tests but those about deliberate differences run against
//! that nsqd instead.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod data_path;
mod heartbeat;
mod identify;
mod lifecycle;
mod limits;
mod peers;
mod publish;
mod refusals;
#[cfg(feature = "lookupd")]
mod registration;
mod subscribe;
mod support;
mod timeouts;
