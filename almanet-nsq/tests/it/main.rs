//! What a user of the crate sees: against a scripted peer for everything that can go wrong, against a broker for the rest.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod auth_server;
mod authenticating;
mod backing_off;
#[cfg(feature = "tls")]
mod certificates;
mod compressing;
mod connecting;
mod consuming;
mod consuming_with_broker;
mod ending;
mod expiring;
mod flow;
mod giving_up;
mod lookup;
mod lookupd;
mod merging;
mod nsqd;
mod observed;
mod observing;
mod packing;
mod peer;
mod pool_failover;
mod pool_following;
mod pooling;
mod posting;
mod publishing;
mod publishing_onward;
mod queueing;
mod reconnecting;
mod renewing;
mod secrets;
#[cfg(feature = "tls")]
mod securing;
#[cfg(feature = "tls")]
mod securing_with_broker;
#[cfg(feature = "tls")]
mod system_roots;
mod taking_turns;
#[cfg(feature = "tls")]
mod tls_peer;
mod too_large;
mod touching;
#[cfg(feature = "tls")]
mod trusting;
mod with_broker;
