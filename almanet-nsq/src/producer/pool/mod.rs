//! Publishing to several brokers: [`ProducerPool`] is the user's side, [`publishing`] one publish on its way from node
//! to node, [`members`] the nodes and whose turn it is, [`health`] how far a node is trusted, [`follow`] the coming
//! and going of nodes, [`post`] publishing without a wait for the outcome.

mod config;
mod follow;
mod health;
mod members;
mod post;
mod publisher;
mod publishing;

pub use config::{Duplicates, ProducerPoolConfig};
pub use members::PoolNode;
pub use post::Posted;
pub use publisher::ProducerPool;
