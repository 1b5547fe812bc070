//! Publishing: [`Producer`] is the user's side, [`content`] what a publish publishes, [`deadline`] how long
//! it may take, [`publish`] one publish and whom its outcome is for, [`outbox`] all that wait, [`batch`] what goes out, [`merge`] what goes out together, [`confirm`] what comes back, [`endpoint`] the connection's side,
//! [`pool`] publishing to several brokers, [`alarm`] how publishers learn of a failure that do not wait for the outcome.

mod alarm;
mod batch;
mod confirm;
mod content;
mod deadline;
mod endpoint;
mod merge;
mod outbox;
mod pool;
mod publish;
mod publisher;
mod receipt;

pub use alarm::{FailedPost, PostFailed};
pub use pool::{Duplicates, PoolNode, Posted, ProducerPool, ProducerPoolConfig};
pub use publisher::Producer;
