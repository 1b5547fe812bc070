//! What is saved, piece by piece, and its bytes.

use std::time::Duration;

use almanet_nsq_proto::{ChannelName, Message, MessageId, TopicName};
use bytes::{Buf, BufMut, Bytes};

const TOPIC: u8 = 1;
const CHANNEL: u8 = 2;
const MESSAGE: u8 = 3;

/// The flag of a topic or channel that is paused.
const PAUSED: u8 = 1;

/// One piece of what a broker has.
///
/// A channel belongs to the topic before it, a message to the channel before it. Messages between a topic and its
/// first channel wait for a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    Topic { name: TopicName, paused: bool },
    Channel { name: ChannelName, paused: bool },
    Message(SavedMessage),
}

/// A message that nobody has finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedMessage {
    pub(crate) message: Message,
    /// How long it is still deferred; zero when it waits for a subscriber.
    pub(crate) delay: Duration,
}

/// What is wrong with bytes that should be a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("a record ends early")]
    Short,
    #[error("there is no kind of record {0}")]
    Kind(u8),
    #[error("a name is not valid")]
    Name,
}

impl Record {
    /// Appends the bytes of the record. See docs/broker-state.md.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Topic { name, paused } => encode_named(TOPIC, *paused, name.as_str(), out),
            Self::Channel { name, paused } => encode_named(CHANNEL, *paused, name.as_str(), out),
            Self::Message(SavedMessage { message, delay }) => {
                out.put_u8(MESSAGE);
                out.put_u64(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX));
                out.put_i64(message.timestamp);
                out.put_u16(message.attempts);
                out.put_slice(message.id.as_bytes());
                // No message is larger than its publisher's frame, whose size has 31 bits.
                out.put_u32(u32::try_from(message.body.len()).unwrap_or(u32::MAX));
                out.put_slice(&message.body);
            }
        }
    }

    /// Takes a record off the front of `bytes`, whose memory its body shares.
    pub(super) fn decode(bytes: &mut Bytes) -> Result<Self, RecordError> {
        let short = |_| RecordError::Short;
        match bytes.try_get_u8().map_err(short)? {
            kind @ (TOPIC | CHANNEL) => {
                let flags = bytes.try_get_u8().map_err(short)?;
                let length = bytes.try_get_u8().map_err(short)?;
                let name = take(bytes, usize::from(length))?;
                let name = str::from_utf8(&name).map_err(|_| RecordError::Name)?;
                let paused = flags & PAUSED != 0;
                if kind == TOPIC {
                    let name = TopicName::new(name).map_err(|_| RecordError::Name)?;
                    Ok(Self::Topic { name, paused })
                } else {
                    let name = ChannelName::new(name).map_err(|_| RecordError::Name)?;
                    Ok(Self::Channel { name, paused })
                }
            }
            MESSAGE => {
                let delay = Duration::from_nanos(bytes.try_get_u64().map_err(short)?);
                let timestamp = bytes.try_get_i64().map_err(short)?;
                let attempts = bytes.try_get_u16().map_err(short)?;
                let mut id = [0; MessageId::LENGTH];
                bytes.try_copy_to_slice(&mut id).map_err(short)?;
                let length = bytes.try_get_u32().map_err(short)?;
                let body = take(bytes, length as usize)?;
                let message = Message {
                    timestamp,
                    attempts,
                    id: MessageId::new(id),
                    body,
                };
                Ok(Self::Message(SavedMessage { message, delay }))
            }
            kind => Err(RecordError::Kind(kind)),
        }
    }
}

fn encode_named(kind: u8, paused: bool, name: &str, out: &mut Vec<u8>) {
    out.put_u8(kind);
    out.put_u8(if paused { PAUSED } else { 0 });
    // A name has at most 64 characters.
    out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.put_slice(name.as_bytes());
}

fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes, RecordError> {
    if bytes.len() < length {
        return Err(RecordError::Short);
    }
    Ok(bytes.split_to(length))
}
