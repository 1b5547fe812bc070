//! What can be set, and why each default is what it is.

use std::time::Duration;

mod connection;
mod producer;
mod window;

pub use connection::ConnectionConfig;
pub use producer::ProducerConfig;
pub use window::Window;

/// The shortest time that makes sense for anything a task waits for again and again.
pub(crate) const SHORTEST: Duration = Duration::from_millis(1);
/// Longer than any process runs, and safe to add to any clock.
pub(crate) const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
