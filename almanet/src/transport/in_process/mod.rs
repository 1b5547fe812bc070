//! A transport that stays inside the process: [`queue`] is one channel, [`topics`] all there is, [`transport`] the way
//! in, [`subscription`] the way out.

mod queue;
mod subscription;
mod topics;
mod transport;

pub use transport::InProcessTransport;
