//! AUTH: who may publish and subscribe to what.
//!
//! Either one secret opens everything, or an HTTP server is asked about each, as nsqd asks it.

mod authority;
mod error;
mod grant;

pub use authority::Auth;
pub use error::AuthError;

pub(crate) use authority::{AskError, Asker};
pub(crate) use grant::Grant;
