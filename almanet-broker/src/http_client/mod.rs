//! Asks auth servers and nsqlookupd over HTTP, within a time and a size.

mod address;
mod client;
mod error;

pub(crate) use self::{
    address::{Address, AddressError},
    client::HttpClient,
};
