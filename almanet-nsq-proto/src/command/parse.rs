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
        let line = src.get(..end).unwrap_or_default();
        let parsed = self.parse_line(gate, line.strip_suffix(b"\r").unwrap_or(line));
        src.advance(end + 1);
        parsed.map(Some)
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
mod tests;
