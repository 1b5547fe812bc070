//! Registration at nsqlookupd, so that the broker can stand beside nsqd nodes.
//!
//! [`Lookupds`] follows the list of their addresses, which can change at any time. Each has a [`peer`]: a task with a
//! connection that says who the broker is, which topics and channels it has, and every 15 s that it is alive. One that
//! is down disturbs neither the others nor any client.

mod channels;
mod connection;
mod finder;
mod identity;
mod list;
mod peer;

pub(crate) use self::{finder::Finder, identity::Identity, list::Lookupds};
