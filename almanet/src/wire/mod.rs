//! What travels in the bodies of messages: payloads, and the envelopes of calls, replies and events.
//!
//! docs/protocol.md describes the bytes.

mod codec;
mod envelope;
mod event;
mod headers;
mod invocation;
mod payload;
mod reply;
mod scratch;

pub use codec::{Codec, DecodeError, EncodeError};
pub use envelope::EnvelopeError;
pub use event::EventBody;
pub use headers::Headers;
pub use invocation::Invocation;
pub use payload::Payload;
pub use reply::Reply;
