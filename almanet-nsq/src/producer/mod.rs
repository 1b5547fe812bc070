//! Publishing: [`Producer`] is the user's side, [`outbox`] what waits, [`batch`] what goes out, [`merge`] what goes
//! out together, [`confirm`] what comes back, [`endpoint`] the connection's side.

mod batch;
mod confirm;
mod endpoint;
mod merge;
mod outbox;
mod publisher;
mod receipt;

pub use publisher::Producer;
