//! Reads commands out of a growing buffer.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use super::{
    Command,
    bodies::{self, Scan},
    consume,
    gate::{Admission, Gate, Verb},
    publish,
};
use crate::{
    error::{ErrorCode, ProtocolError},
    name::TopicName,
    secret::Secret,
};

/// The most that a [`CommandDecoder`] takes from a client; sizes are in bytes.
///
/// The defaults are nsqd's: messages of 1 MiB (`--max-msg-size`), bodies of 5 MiB (`--max-body-size`), delays of an
/// hour (`--max-req-timeout`) and lines of 16 KiB (its read buffer).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest line: a command and its parameters.
    pub max_line_length: usize,
    /// The largest message.
    pub max_message_size: usize,
    /// The largest body of IDENTIFY, AUTH and MPUB.
    pub max_body_size: usize,
    /// The longest delay of DPUB.
    pub max_delay: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_line_length: 16 * 1024,
            max_message_size: 1024 * 1024,
            max_body_size: 5 * 1024 * 1024,
            max_delay: Duration::from_secs(60 * 60),
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
    Mpub(TopicName, Scan),
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
        self.decode_through(&(), src)
    }

    /// [`decode`](Self::decode) for a broker that has a say in between.
    ///
    /// # Errors
    ///
    /// As there, and what `gate` refuses; that is in time for nsqd's order.
    pub fn decode_through(
        &mut self,
        gate: &impl Gate,
        src: &mut BytesMut,
    ) -> Result<Option<Command>, ProtocolError> {
        loop {
            match std::mem::replace(&mut self.state, State::Line { scanned: 0 }) {
                State::Line { scanned } => match self.line(gate, scanned, src)? {
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
                State::Body(mut header, size) => {
                    if src.len() < size {
                        if let Header::Mpub(_, scan) = &mut header {
                            scan.advance(src, size, &self.limits)?;
                        }
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

    /// The command whose line has been read and whose body has not, if there is one.
    pub fn unfinished(&self) -> Option<Verb<'static>> {
        let (State::Size(header) | State::Body(header, _)) = &self.state else {
            return None;
        };
        Some(match header {
            Header::Identify => Verb::Identify,
            Header::Auth => Verb::Auth,
            Header::Pub(_) => Verb::Pub,
            Header::Mpub(..) => Verb::Mpub,
            Header::Dpub(..) => Verb::Dpub,
        })
    }

    /// What to refuse when the client sends nothing after `rest`, what it has sent and was not decoded.
    ///
    /// That is the body that is missing. A line that was begun is no command yet, and nsqd does not mention it.
    pub fn cut_off(&self, rest: &[u8]) -> Option<ProtocolError> {
        let (header, what) = match &self.state {
            State::Line { .. } => return None,
            State::Size(header) => (header, "body size"),
            State::Body(Header::Mpub(_, scan), _) => return Some(scan.missing(rest.len())),
            State::Body(header, _) => (header, "body"),
        };
        let (code, command) = match header {
            Header::Identify => (ErrorCode::BadBody, "IDENTIFY"),
            Header::Auth => (ErrorCode::BadBody, "AUTH"),
            Header::Mpub(..) => (ErrorCode::BadBody, "MPUB"),
            Header::Pub(_) => (ErrorCode::BadMessage, "PUB"),
            Header::Dpub(..) => (ErrorCode::BadMessage, "DPUB"),
        };
        let message = if code == ErrorCode::BadMessage {
            "message "
        } else {
            ""
        };
        let description = format!("{command} failed to read {message}{what}");
        Some(ProtocolError::new(code, description))
    }

    fn line(
        &mut self,
        gate: &impl Gate,
        scanned: usize,
        src: &mut BytesMut,
    ) -> Result<Option<Line>, ProtocolError> {
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
        self.parse_line(gate, line.strip_suffix(b"\r").unwrap_or(&line))
            .map(Some)
    }

    fn parse_line(&self, gate: &impl Gate, line: &[u8]) -> Result<Line, ProtocolError> {
        let (word, params) = Params::split(line);
        let verb = Verb::parse(word);
        match gate.admit(verb)? {
            Admission::Read => {}
            Admission::PassOver => return Ok(Line::Whole(Command::Nop)),
        }
        Ok(match verb {
            Verb::Fin => Line::Whole(consume::parse_fin(&params)?),
            Verb::Pub => Line::Header(Header::Pub(publish::parse_topic("PUB", &params)?)),
            Verb::Mpub => {
                let topic = publish::parse_topic("MPUB", &params)?;
                gate.admit_mpub(&topic)?;
                Line::Header(Header::Mpub(topic, Scan::default()))
            }
            Verb::Rdy => Line::Whole(consume::parse_rdy(&params)?),
            Verb::Req => Line::Whole(consume::parse_req(&params)?),
            Verb::Touch => Line::Whole(consume::parse_touch(&params)?),
            Verb::Nop => Line::Whole(Command::Nop),
            Verb::Dpub => {
                if params.get(1).is_none() {
                    return Err(consume::invalid("DPUB insufficient number of parameters"));
                }
                let topic = publish::parse_topic("DPUB", &params)?;
                Line::Header(Header::Dpub(topic, publish::parse_delay(&params, &self.limits)?))
            }
            Verb::Sub => Line::Whole(consume::parse_sub(&params)?),
            Verb::Cls => Line::Whole(Command::Cls),
            Verb::Identify => Line::Header(Header::Identify),
            Verb::Auth if params.get(0).is_some() => {
                return Err(consume::invalid("AUTH invalid number of parameters"));
            }
            Verb::Auth => Line::Header(Header::Auth),
            Verb::Unknown(_) => return Err(consume::invalid(format!("invalid command {verb}"))),
        })
    }

    fn check_size(&self, header: &Header, announced: i32) -> Result<usize, ProtocolError> {
        match header {
            Header::Pub(_) => publish::check_message_size("PUB", announced, &self.limits),
            Header::Dpub(..) => publish::check_message_size("DPUB", announced, &self.limits),
            Header::Identify => self.check_body_size("IDENTIFY", announced),
            Header::Auth => self.check_body_size("AUTH", announced),
            Header::Mpub(..) => self.check_body_size("MPUB", announced),
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
            Header::Mpub(topic, _) => Command::Mpub {
                topic,
                bodies: bodies::split(body, &self.limits)?,
            },
            Header::Dpub(topic, delay) => Command::Dpub { topic, delay, body },
        })
    }
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
            max_delay: Duration::from_millis(500),
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
            (b"DPUB t 501\n", "E_INVALID DPUB timeout 501 out of range 0-500"),
            (
                b"MPUB t\xff\n",
                "E_BAD_TOPIC E_BAD_TOPIC MPUB topic name \"t\\xff\" is not valid",
            ),
            // Refused before the rest has come.
            (
                b"MPUB t\n\0\0\0\x3c\0\0\0\0",
                "E_BAD_BODY MPUB invalid message count 0",
            ),
            (
                b"MPUB t\n\0\0\0\x3c\0\0\0\x02\0\0\0\x01a\xff\xff\xff\xff",
                "E_BAD_MESSAGE MPUB invalid message(1) body size -1",
            ),
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
    fn nsqd_words_for_what_is_missing() {
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"", None),
            (b"PUB t", None),
            (
                b"PUB t\n\0",
                Some("E_BAD_MESSAGE PUB failed to read message body size"),
            ),
            (
                b"PUB t\n\0\0\0\x05hell",
                Some("E_BAD_MESSAGE PUB failed to read message body"),
            ),
            (
                b"DPUB t 1\n\0\0\0\x05",
                Some("E_BAD_MESSAGE DPUB failed to read message body"),
            ),
            (
                b"IDENTIFY\n",
                Some("E_BAD_BODY IDENTIFY failed to read body size"),
            ),
            (b"AUTH\n\0\0\0\x05", Some("E_BAD_BODY AUTH failed to read body")),
            (b"MPUB t\n\0\0", Some("E_BAD_BODY MPUB failed to read body size")),
            (
                b"MPUB t\n\0\0\0\x3c\0",
                Some("E_BAD_BODY MPUB failed to read message count"),
            ),
            (
                b"MPUB t\n\0\0\0\x3c\0\0\0\x02\0\0\0\x01a\0",
                Some("E_BAD_MESSAGE MPUB failed to read message(1) body size"),
            ),
            (
                b"MPUB t\n\0\0\0\x3c\0\0\0\x02\0\0\0\x02a",
                Some("E_BAD_MESSAGE MPUB failed to read message body"),
            ),
        ];
        for (bytes, words) in cases {
            let mut decoder = CommandDecoder::new(Limits::default());
            let mut wire = BytesMut::from(*bytes);
            assert_eq!(decoder.decode(&mut wire), Ok(None), "{}", bytes.escape_ascii());
            let refusal = decoder.cut_off(&wire).map(|refusal| refusal.to_string());
            assert_eq!(refusal.as_deref(), *words, "{}", bytes.escape_ascii());
        }
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
