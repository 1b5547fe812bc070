//! A message as a broker delivers it.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::FrameError;

/// Bytes of a message frame before the body: timestamp, attempts and id.
pub(crate) const HEADER_LENGTH: usize = 8 + 2 + MessageId::LENGTH;

/// The broker's name for one delivery: 16 bytes, in nsqd hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; Self::LENGTH]);

impl MessageId {
    /// How many bytes an id has.
    pub const LENGTH: usize = 16;

    /// An id of these bytes.
    pub const fn new(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The id that shows `number` as 16 hexadecimal digits, which is how nsqd writes its ids.
    pub fn from_number(number: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = [0; Self::LENGTH];
        let mut rest = number;
        for byte in bytes.iter_mut().rev() {
            *byte = DIGITS.get((rest & 0xf) as usize).copied().unwrap_or(b'0');
            rest >>= 4;
        }
        Self(bytes)
    }

    /// The bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// A message as it travels from the broker to a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When the broker took the message in, in nanoseconds since 1970 by the broker's clock.
    pub timestamp: i64,
    /// How often the message has been delivered, this time included.
    pub attempts: u16,
    /// The name by which the subscriber answers (FIN, REQ, TOUCH).
    pub id: MessageId,
    /// What the publisher sent.
    pub body: Bytes,
}

impl Message {
    /// Appends the message as a frame holds it.
    pub(crate) fn encode(&self, dst: &mut BytesMut) {
        dst.put_i64(self.timestamp);
        dst.put_u16(self.attempts);
        dst.put_slice(self.id.as_bytes());
        dst.put_slice(&self.body);
    }

    /// Takes what [`encode`](Self::encode) wrote, `length` bytes that are there, off the front of `src`; the body shares its memory.
    pub(crate) fn decode(src: &mut BytesMut, length: usize) -> Result<Self, FrameError> {
        let (Some(head), Some(body)) = (MessageHead::decode(src), length.checked_sub(HEADER_LENGTH)) else {
            return Err(FrameError::ShortMessage { size: length });
        };
        src.advance(HEADER_LENGTH);
        Ok(Self {
            timestamp: head.timestamp,
            attempts: head.attempts,
            id: head.id,
            body: src.split_to(body).freeze(),
        })
    }

    /// What is said of the message before its body.
    pub fn head(&self) -> MessageHead {
        MessageHead {
            timestamp: self.timestamp,
            attempts: self.attempts,
            id: self.id,
        }
    }
}

/// A [`Message`] without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHead {
    /// When the broker took the message in, in nanoseconds since 1970 by the broker's clock.
    pub timestamp: i64,
    /// How often the message has been delivered, this time included.
    pub attempts: u16,
    /// The name by which the subscriber answers (FIN, REQ, TOUCH).
    pub id: MessageId,
}

impl MessageHead {
    /// Reads the front of what [`Message::encode`] wrote; `None` until that is there.
    pub(crate) fn decode(data: &[u8]) -> Option<Self> {
        let (timestamp, rest) = data.split_first_chunk::<8>()?;
        let (attempts, rest) = rest.split_first_chunk::<2>()?;
        let (id, _) = rest.split_first_chunk::<{ MessageId::LENGTH }>()?;
        Some(Self {
            timestamp: i64::from_be_bytes(*timestamp),
            attempts: u16::from_be_bytes(*attempts),
            id: MessageId(*id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_from_a_number_is_sixteen_hexadecimal_digits() {
        assert_eq!(MessageId::from_number(0xabc).to_string(), "0000000000000abc");
        assert_eq!(MessageId::from_number(u64::MAX).as_bytes(), b"ffffffffffffffff");
    }
}
