//! Sessions for programs without a runtime: the same names, and each returns when it is done.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use almanet::blocking::Session;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let session = Session::connect("127.0.0.1:4150")?;
//!     let greeting: String = session.call("net.example.greet", "Aidar").timeout(Duration::from_secs(5)).wait()?;
//!     session.produce("net.example.greeted", &greeting)?;
//!     session.leave()?;
//!     Ok(())
//! }
//! ```
//!
//! Each [`Session`] has a thread of its own on which its connections are served; clones share it. Any thread may use it,
//! those of `tokio::task::spawn_blocking` included. In an async task it would keep others from running, so there every
//! operation fails at once with [`Error::WithinAsync`]: use [`almanet::Session`](crate::Session) there.

mod call;
mod consumer;
mod engine;
mod session;
mod stream;

pub use call::Call;
pub use consumer::{Consumer, NothingCame};
pub use engine::Error;
pub use session::Session;
pub use stream::{ResponseStream, StreamCall};
