//! The [NSQ V2 protocol], both directions, without sockets and without a clock.
//!
//! A client encodes [`Command`]s and decodes [`Frame`]s; a broker does the reverse. Both directions are written
//! once, here, so that a client and a broker built on this crate cannot disagree. Decoding is incremental:
//! too few bytes is the normal outcome `Ok(None)`, never an error. Every size that a peer announces is checked
//! against a limit before memory is reserved for it, and message bodies are [`bytes::Bytes`] that share the
//! read buffer.
//!
//! ```
//! use almanet_nsq_proto::{Command, CommandDecoder, Limits, TopicName};
//! use bytes::{Bytes, BytesMut};
//!
//! let topic = TopicName::new("orders")?;
//! let command = Command::Pub { topic, body: Bytes::from_static(b"one coffee") };
//!
//! let mut wire = BytesMut::new();
//! command.encode(&mut wire);
//! assert_eq!(&wire[..], b"PUB orders\n\x00\x00\x00\x0aone coffee");
//!
//! let mut decoder = CommandDecoder::new(Limits::default());
//! assert_eq!(decoder.decode(&mut wire)?, Some(command));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [NSQ V2 protocol]: https://nsq.io/clients/tcp_protocol_spec.html

mod codec;
mod command;
mod error;
mod frame;
mod identify;
mod message;
mod name;
mod packing;
mod secret;

pub use codec::{ClientCodec, ServerCodec};
pub use command::{Admission, Command, CommandDecoder, Gate, Limits, MAGIC_V2, Verb};
pub use error::{CodecError, ErrorCode, FrameError, ProtocolError};
pub use frame::{CLOSE_WAIT, Frame, FrameDecoder, HEARTBEAT, OK};
pub use identify::{Identify, IdentifyResponse};
pub use message::{Message, MessageHead, MessageId};
pub use name::{ChannelName, InvalidName, MAX_NAME_LENGTH, TopicName};
pub use packing::{Packer, Unpacker};
pub use secret::Secret;
