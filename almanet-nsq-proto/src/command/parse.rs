//! Reads commands out of a growing buffer.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use super::{Command, consume, publish};
use crate::{
    error::{ErrorCode, ProtocolError},
    name::TopicName,
    secret::Secret,
};

/// The most that a [`CommandDecoder`] takes from a client, in bytes.
///
/// The defaults are nsqd's: messages of 1 MiB (`--max-msg-size`), bodies of 5 MiB (`--max-body-size`) and lines
/// of 16 KiB (its read buffer).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest line: a command and its parameters.
    pub max_line_length: usize,
    /// The largest message.
    pub max_message_size: usize,
    /// The largest body of IDENTIFY, AUTH and MPUB.
    pub max_body_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_line_length: 16 * 1024,
            max_message_size: 1024 * 1024,
            max_body_size: 5 * 1024 * 1024,
        }
    }
}

/// Reads commands out of a growing buffer; the bytes after [`MAGIC_V2`](super::MAGIC_V2).
#[derive(Debug, Clone)]
pub struct CommandDecoder {
    limits: Limits,
    state: State,
}

/// Where in a command the decoder stands. What has been read once is not read again.
#[derive(Debug, Clone)]
enum State {
    /// In a line of which the first `scanned` bytes hold no line feed.
    Line { scanned: usize },
    /// Behind a line whose command has a body; its size comes next.
    Size(Header),
    /// Behind the size.
    Body(Header, usize),
}

/// A command that waits for its body.
#[derive(Debug, Clone)]
enum Header {
    Identify,
    Auth,
    Pub(TopicName),
    Mpub(TopicName),
    Dpub(TopicName, Duration),
}

enum Line {
    Whole(Command),
    Header(Header),
}

impl CommandDecoder {
    /// A decoder that refuses what is beyond `limits`.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Line { scanned: 0 },
        }
    }

    /// Takes the next command off the front of `src`; `None` until it is there whole.
    ///
    /// Message bodies share the memory of `src`. Once a size is known, room for the rest of the body is
    /// reserved, so at most what [`Limits`] allows.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`], in nsqd's words, when the bytes are no command or are beyond the limits. The error is
    /// always fatal: the decoder does not know where the next command begins.
    pub fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Command>, ProtocolError> {
        loop {
            match std::mem::replace(&mut self.state, State::Line { scanned: 0 }) {
                State::Line { scanned } => match self.line(scanned, src)? {
                    Some(Line::Whole(command)) => return Ok(Some(command)),
                    Some(Line::Header(header)) => self.state = State::Size(header),
                    None => return Ok(None),
                },
                State::Size(header) => {
                    if src.len() < 4 {
                        self.state = State::Size(header);
                        return Ok(None);
                    }
                    let size = self.check_size(&header, src.get_i32())?;
                    self.state = State::Body(header, size);
                }
                State::Body(header, size) => {
                    if src.len() < size {
                        src.reserve(size - src.len());
                        self.state = State::Body(header, size);
                        return Ok(None);
                    }
                    let body = src.split_to(size).freeze();
                    return self.with_body(header, body).map(Some);
                }
            }
        }
    }

    fn line(&mut self, scanned: usize, src: &mut BytesMut) -> Result<Option<Line>, ProtocolError> {
        let unread = src.get(scanned..).unwrap_or_default();
        let end = memchr::memchr(b'\n', unread).map(|position| scanned + position);
        if end.unwrap_or(src.len()) > self.limits.max_line_length {
            return Err(consume::invalid("failed to read command: line too long"));
        }
        let Some(end) = end else {
            self.state = State::Line { scanned: src.len() };
            return Ok(None);
        };
        let line = src.split_to(end);
        src.advance(1);
        parse_line(line.strip_suffix(b"\r").unwrap_or(&line)).map(Some)
    }

    fn check_size(&self, header: &Header, announced: i32) -> Result<usize, ProtocolError> {
        match header {
            Header::Pub(_) => publish::check_message_size("PUB", announced, &self.limits),
            Header::Dpub(..) => publish::check_message_size("DPUB", announced, &self.limits),
            Header::Identify => self.check_body_size("IDENTIFY", announced),
            Header::Auth => self.check_body_size("AUTH", announced),
            Header::Mpub(_) => self.check_body_size("MPUB", announced),
        }
    }

    fn check_body_size(&self, command: &str, announced: i32) -> Result<usize, ProtocolError> {
        let bad = |description| ProtocolError::new(ErrorCode::BadBody, description);
        match usize::try_from(announced) {
            Ok(size) if size > self.limits.max_body_size => Err(bad(format!(
                "{command} body too big {size} > {}",
                self.limits.max_body_size
            ))),
            Ok(size) if size > 0 => Ok(size),
            _ => Err(bad(format!("{command} invalid body size {announced}"))),
        }
    }

    fn with_body(&self, header: Header, body: Bytes) -> Result<Command, ProtocolError> {
        Ok(match header {
            Header::Identify => Command::Identify(serde_json::from_slice(&body).map_err(|_| {
                ProtocolError::new(ErrorCode::BadBody, "IDENTIFY failed to decode JSON body")
            })?),
            Header::Auth => Command::Auth(Secret::new(body)),
            Header::Pub(topic) => Command::Pub { topic, body },
            Header::Mpub(topic) => Command::Mpub {
                topic,
                bodies: publish::split_bodies(body, &self.limits)?,
            },
            Header::Dpub(topic, delay) => Command::Dpub { topic, delay, body },
        })
    }
}

fn parse_line(line: &[u8]) -> Result<Line, ProtocolError> {
    let (name, params) = Params::split(line);
    Ok(match name {
        b"FIN" => Line::Whole(consume::parse_fin(&params)?),
        b"PUB" => Line::Header(Header::Pub(publish::parse_topic("PUB", &params)?)),
        b"MPUB" => Line::Header(Header::Mpub(publish::parse_topic("MPUB", &params)?)),
        b"RDY" => Line::Whole(consume::parse_rdy(&params)?),
        b"REQ" => Line::Whole(consume::parse_req(&params)?),
        b"TOUCH" => Line::Whole(consume::parse_touch(&params)?),
        b"NOP" => Line::Whole(Command::Nop),
        b"DPUB" => {
            if params.get(1).is_none() {
                return Err(consume::invalid("DPUB insufficient number of parameters"));
            }
            let topic = publish::parse_topic("DPUB", &params)?;
            Line::Header(Header::Dpub(topic, publish::parse_delay(&params)?))
        }
        b"SUB" => Line::Whole(consume::parse_sub(&params)?),
        b"CLS" => Line::Whole(Command::Cls),
        b"IDENTIFY" => Line::Header(Header::Identify),
        b"AUTH" if params.get(0).is_some() => {
            return Err(consume::invalid("AUTH invalid number of parameters"));
        }
        b"AUTH" => Line::Header(Header::Auth),
        other => {
            return Err(consume::invalid(format!(
                "invalid command {}",
                consume::text(other)
            )));
        }
    })
}

/// The words of a line after its first.
pub(super) struct Params<'a>([Option<&'a [u8]>; 2]);

impl<'a> Params<'a> {
    fn split(line: &'a [u8]) -> (&'a [u8], Self) {
        let mut words = line.split(|byte| *byte == b' ');
        let name = words.next().unwrap_or_default();
        (name, Self([words.next(), words.next()]))
    }

    pub(super) fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.0.get(index).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageId;

    fn decode(bytes: &[u8]) -> Result<Option<Command>, ProtocolError> {
        let limits = Limits {
            max_line_length: 100,
            max_message_size: 10,
            max_body_size: 60,
        };
        CommandDecoder::new(limits).decode(&mut BytesMut::from(bytes))
    }

    fn refusal(bytes: &[u8]) -> String {
        decode(bytes).unwrap_err().to_string()
    }

    #[test]
    fn nsqd_words_for_what_is_wrong() {
        let long = [b'x'; 101];
        let long_and_ended = [&long[..], b"\n"].concat();
        let cases: &[(&[u8], &str)] = &[
            (b"HELLO\n", "E_INVALID invalid command HELLO"),
            (b"\n", "E_INVALID invalid command "),
            (&long, "E_INVALID failed to read command: line too long"),
            (&long_and_ended, "E_INVALID failed to read command: line too long"),
            (b"PUB\n", "E_INVALID PUB insufficient number of parameters"),
            (b"PUB two$\n", "E_BAD_TOPIC PUB topic name \"two$\" is not valid"),
            (
                b"PUB t\n\0\0\0\0",
                "E_BAD_MESSAGE PUB invalid message body size 0",
            ),
            (
                b"PUB t\n\xff\xff\xff\xff",
                "E_BAD_MESSAGE PUB invalid message body size -1",
            ),
            (b"PUB t\n\0\0\0\x0b", "E_BAD_MESSAGE PUB message too big 11 > 10"),
            (
                b"MPUB t\n\x7f\xff\xff\xff",
                "E_BAD_BODY MPUB body too big 2147483647 > 60",
            ),
            (
                b"MPUB t\n\0\0\0\x03abc",
                "E_BAD_BODY MPUB failed to read message count",
            ),
            (
                b"MPUB t\n\0\0\0\x08\0\0\0\x09\0\0\0\x01",
                "E_BAD_BODY MPUB invalid message count 9",
            ),
            (
                b"MPUB t\n\0\0\0\x09\0\0\0\x01\0\0\0\0a",
                "E_BAD_MESSAGE MPUB invalid message(0) body size 0",
            ),
            (
                b"MPUB t\n\0\0\0\x09\0\0\0\x01\0\0\0\x63a",
                "E_BAD_MESSAGE MPUB message too big 99 > 10",
            ),
            (
                b"MPUB t\n\0\0\0\x09\0\0\0\x01\0\0\0\x02a",
                "E_BAD_MESSAGE MPUB failed to read message body",
            ),
            (b"DPUB t\n", "E_INVALID DPUB insufficient number of parameters"),
            (b"DPUB t soon\n", "E_INVALID DPUB could not parse timeout soon"),
            (b"SUB t\n", "E_INVALID SUB insufficient number of parameters"),
            (
                b"SUB t c!\n",
                "E_BAD_CHANNEL SUB channel name \"c!\" is not valid",
            ),
            (b"RDY -1\n", "E_INVALID RDY could not parse count -1"),
            (b"FIN\n", "E_INVALID FIN insufficient number of params"),
            (b"FIN short\n", "E_INVALID invalid message ID"),
            (
                b"REQ 0123456789abcdef\n",
                "E_INVALID REQ insufficient number of params",
            ),
            (
                b"REQ 0123456789abcdef x\n",
                "E_INVALID REQ could not parse timeout x",
            ),
            (b"TOUCH\n", "E_INVALID TOUCH insufficient number of params"),
            (b"AUTH me\n", "E_INVALID AUTH invalid number of parameters"),
            (b"AUTH\n\0\0\0\0", "E_BAD_BODY AUTH invalid body size 0"),
            (
                b"IDENTIFY\n\0\0\0\x01{",
                "E_BAD_BODY IDENTIFY failed to decode JSON body",
            ),
        ];
        for (bytes, words) in cases {
            assert_eq!(refusal(bytes), *words, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn several_messages_that_leave_bytes_over_are_refused_whole() {
        assert_eq!(
            refusal(b"MPUB t\n\0\0\0\x0b\0\0\0\x01\0\0\0\x01abc"),
            "E_BAD_BODY MPUB 2 bytes after the last message"
        );
    }

    #[test]
    fn a_carriage_return_before_the_line_feed_is_taken() {
        assert_eq!(decode(b"NOP\r\n"), Ok(Some(Command::Nop)));
        let id = MessageId::new(*b"0123456789abcdef");
        assert_eq!(decode(b"FIN 0123456789abcdef\r\n"), Ok(Some(Command::Fin(id))));
    }

    #[test]
    fn a_ready_without_a_count_means_one() {
        assert_eq!(decode(b"RDY\n"), Ok(Some(Command::Rdy(1))));
    }

    #[test]
    fn bodies_share_the_memory_of_the_buffer() {
        let mut wire = BytesMut::from(&b"PUB t\n\0\0\0\x05hello"[..]);
        let start = wire.as_ptr();
        let command = CommandDecoder::new(Limits::default()).decode(&mut wire);
        let Ok(Some(Command::Pub { body, .. })) = command else {
            panic!("not a PUB: {command:?}")
        };
        assert_eq!(body.as_ptr(), start.wrapping_add(10));
    }
}
