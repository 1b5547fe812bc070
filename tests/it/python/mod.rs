//! Both languages on one broker: what the Python package `almanet` 1.3.4 sends and expects, byte for byte as it was
//! recorded.

mod calls;
mod envelopes;
mod peer;
mod replies;
