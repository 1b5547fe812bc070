//! Publishing to several brokers: [`ProducerPool`] is the user's side, [`publishing`] one publish on its way from node
//! to node, [`members`] the nodes and whose turn it is, [`health`] how far a node is trusted, [`follow`] the coming
//! and going of nodes.

mod config;
mod follow;
mod health;
mod members;
mod publisher;
mod publishing;

pub use config::{Duplicates, ProducerPoolConfig};
pub use members::PoolNode;
pub use publisher::ProducerPool;
