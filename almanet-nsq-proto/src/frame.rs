//! What a broker sends: responses, errors and messages.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    error::{FrameError, ProtocolError},
    message::{HEADER_LENGTH, Message, MessageHead},
};

/// The response that confirms a command.
pub const OK: &[u8] = b"OK";
/// The response that asks for a sign of life; the client answers with NOP.
pub const HEARTBEAT: &[u8] = b"_heartbeat_";
/// The response to CLS: no further message follows.
pub const CLOSE_WAIT: &[u8] = b"CLOSE_WAIT";

const SIZE_LENGTH: usize = 4;
const TYPE_LENGTH: usize = 4;
const RESPONSE: i32 = 0;
const ERROR: i32 = 1;
const MESSAGE: i32 = 2;

/// One frame from a broker to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The answer to a command, or [`HEARTBEAT`].
    Response(Bytes),
    /// A refusal.
    Error(ProtocolError),
    /// A message of the subscribed channel.
    Message(Message),
}

impl Frame {
    /// Appends the frame: size, type, data.
    pub fn encode(&self, dst: &mut BytesMut) {
        match self {
            Self::Response(data) => {
                put_head(dst, RESPONSE, data.len());
                dst.put_slice(data);
            }
            Self::Error(error) => {
                let (code, description) = (error.code.as_str(), error.description.as_str());
                let space = usize::from(!description.is_empty());
                put_head(dst, ERROR, code.len() + space + description.len());
                dst.put_slice(code.as_bytes());
                if space == 1 {
                    dst.put_u8(b' ');
                }
                dst.put_slice(description.as_bytes());
            }
            Self::Message(message) => {
                put_head(dst, MESSAGE, HEADER_LENGTH + message.body.len());
                message.encode(dst);
            }
        }
    }
}

fn put_head(dst: &mut BytesMut, kind: i32, length: usize) {
    dst.reserve(SIZE_LENGTH + TYPE_LENGTH + length);
    // Sizes are limited far below 2 GiB by the message limits of both peers.
    dst.put_i32(i32::try_from(TYPE_LENGTH + length).unwrap_or(i32::MAX));
    dst.put_i32(kind);
}

/// Reads frames out of a growing buffer.
#[derive(Debug, Clone)]
pub struct FrameDecoder {
    max_frame_size: usize,
    /// How many bytes of a message that is too large are still to be passed over.
    skipping: usize,
}

impl FrameDecoder {
    /// A decoder that refuses frames of more than `max_frame_size` bytes (type and data).
    pub fn new(max_frame_size: usize) -> Self {
        Self {
            max_frame_size,
            skipping: 0,
        }
    }

    /// Takes the next frame off the front of `src`; `None` until it is there whole.
    ///
    /// The data of the frame shares the memory of `src`. Once the size is known, room for the rest of the
    /// frame is reserved, so at most `max_frame_size` bytes.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when the bytes are no frame; what follows then cannot be read either. The exception is
    /// [`FrameError::MessageTooLarge`]: the body of that message is passed over as it comes, and decoding can go on.
    pub fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        self.skip(src);
        let Some((size, rest)) = src.split_first_chunk::<SIZE_LENGTH>() else {
            return Ok(None);
        };
        let announced = i32::from_be_bytes(*size);
        let out_of_range = || FrameError::Size {
            size: announced,
            limit: self.max_frame_size,
        };
        let size = usize::try_from(announced).map_err(|_| out_of_range())?;
        if size < TYPE_LENGTH {
            return Err(out_of_range());
        }
        if size > self.max_frame_size {
            return match rest.split_first_chunk::<TYPE_LENGTH>() {
                Some((kind, data)) if i32::from_be_bytes(*kind) == MESSAGE => {
                    let Some(head) = MessageHead::decode(data) else {
                        return Ok(None);
                    };
                    self.skipping = SIZE_LENGTH + size;
                    self.skip(src);
                    Err(FrameError::MessageTooLarge {
                        head,
                        size: size.saturating_sub(TYPE_LENGTH + HEADER_LENGTH),
                        limit: self.max_frame_size,
                    })
                }
                Some(_) => Err(out_of_range()),
                None => Ok(None),
            };
        }
        if rest.len() < size {
            src.reserve(SIZE_LENGTH + size - src.len());
            return Ok(None);
        }
        src.advance(SIZE_LENGTH);
        let kind = src.get_i32();
        let length = size - TYPE_LENGTH;
        match kind {
            // Nearly all responses are this one, which needs no memory of its own.
            RESPONSE if src.get(..length) == Some(OK) => {
                src.advance(length);
                Ok(Some(Frame::Response(Bytes::from_static(OK))))
            }
            RESPONSE => Ok(Some(Frame::Response(src.split_to(length).freeze()))),
            ERROR => Ok(Some(Frame::Error(ProtocolError::parse(&src.split_to(length))))),
            MESSAGE => Message::decode(src, length).map(|message| Some(Frame::Message(message))),
            kind => Err(FrameError::Type { kind }),
        }
    }

    fn skip(&mut self, src: &mut BytesMut) {
        let count = self.skipping.min(src.len());
        src.advance(count);
        self.skipping -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorCode, MessageId};

    fn decode(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
        FrameDecoder::new(1024).decode(&mut BytesMut::from(bytes))
    }

    #[test]
    fn frames_have_the_bytes_of_the_specification() {
        let mut wire = BytesMut::new();
        Frame::Response(Bytes::from_static(OK)).encode(&mut wire);
        assert_eq!(&wire[..], b"\0\0\0\x06\0\0\0\0OK");

        wire.clear();
        Frame::Error(ProtocolError::new(ErrorCode::Invalid, "no")).encode(&mut wire);
        assert_eq!(&wire[..], b"\0\0\0\x10\0\0\0\x01E_INVALID no");

        wire.clear();
        let id = MessageId::new(*b"0123456789abcdef");
        let body = Bytes::from_static(b"hi");
        Frame::Message(Message {
            timestamp: 1,
            attempts: 2,
            id,
            body,
        })
        .encode(&mut wire);
        assert_eq!(
            &wire[..],
            b"\0\0\0\x20\0\0\0\x02\0\0\0\0\0\0\0\x01\0\x020123456789abcdefhi"
        );
    }

    #[test]
    fn a_frame_that_is_not_whole_waits() {
        let whole = b"\0\0\0\x06\0\0\0\0OK";
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end]), Ok(None));
        }
        assert_eq!(decode(whole), Ok(Some(Frame::Response(Bytes::from_static(OK)))));
    }

    #[test]
    fn sizes_are_refused_before_the_frame_is_there() {
        assert_eq!(
            decode(b"\0\0\0\x03"),
            Err(FrameError::Size { size: 3, limit: 1024 })
        );
        assert_eq!(
            decode(b"\xff\xff\xff\xff"),
            Err(FrameError::Size {
                size: -1,
                limit: 1024
            })
        );
        assert_eq!(
            decode(b"\0\0\x04\x01\0\0\0\0"),
            Err(FrameError::Size {
                size: 1025,
                limit: 1024
            })
        );
        assert_eq!(
            decode(b"HTTP/1.1"),
            Err(FrameError::Size {
                size: 0x4854_5450,
                limit: 1024
            })
        );
    }

    #[test]
    fn a_message_that_is_too_large_is_passed_over_and_its_head_told() {
        let message = Message {
            timestamp: 7,
            attempts: 3,
            id: MessageId::from_number(5),
            body: Bytes::from(vec![b'x'; 5000]),
        };
        let (head, limit) = (message.head(), 1024);
        let mut wire = BytesMut::new();
        Frame::Message(message).encode(&mut wire);
        Frame::Response(Bytes::from_static(OK)).encode(&mut wire);
        for piece in [1, 7, 4096, wire.len()] {
            let mut decoder = FrameDecoder::new(limit);
            let mut received = BytesMut::new();
            let mut decoded = Vec::new();
            for bytes in wire.chunks(piece) {
                received.extend_from_slice(bytes);
                while let Some(frame) = decoder.decode(&mut received).transpose() {
                    decoded.push(frame);
                }
                assert!(received.len() < piece + 64, "{} bytes are kept", received.len());
            }
            let size = 5000;
            let too_large = FrameError::MessageTooLarge { head, size, limit };
            let ok = Frame::Response(Bytes::from_static(OK));
            assert_eq!(decoded, [Err(too_large), Ok(ok)], "in pieces of {piece}");
        }
    }

    #[test]
    fn unknown_types_and_short_messages_are_refused() {
        assert_eq!(decode(b"\0\0\0\x04\0\0\0\x03"), Err(FrameError::Type { kind: 3 }));
        assert_eq!(
            decode(b"\0\0\0\x06\0\0\0\x02ab"),
            Err(FrameError::ShortMessage { size: 2 })
        );
    }

    #[test]
    fn an_error_without_a_description_is_read() {
        let frame = decode(b"\0\0\0\x0d\0\0\0\x01E_INVALID").unwrap().unwrap();
        assert_eq!(frame, Frame::Error(ProtocolError::new(ErrorCode::Invalid, "")));
    }
}
