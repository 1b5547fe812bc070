//! What travels in the bodies of messages: payloads, and the envelopes of calls, replies and events.
//!
//! docs/protocol.md describes the bytes.

mod codec;
mod control;
mod elements;
mod envelope;
mod event;
mod expires;
mod headers;
mod invocation;
mod payload;
mod reply;
mod scratch;
mod stream;

pub use codec::{Codec, DecodeError, EncodeError};
pub use control::{Control, ControlKind};
pub use envelope::EnvelopeError;
pub use event::EventBody;
pub(crate) use event::payload_codec;
pub use headers::Headers;
pub(crate) use headers::{ERRORS_TO, IDEMPOTENCY_KEY, RESPONDER, STREAM_CREDIT};
pub use invocation::Invocation;
pub use payload::Payload;
pub use reply::Reply;
pub(crate) use stream::StreamMessage;
pub use stream::{StreamCredit, StreamEnd, StreamItems};
