//! The body of MPUB: a count, then each message behind its size.

use bytes::{Buf, Bytes};

use super::parse::Limits;
use crate::error::{ErrorCode, ProtocolError};

/// Takes the body of MPUB apart.
pub(super) fn split(mut body: Bytes, limits: &Limits) -> Result<Vec<Bytes>, ProtocolError> {
    let size = body.len();
    if size < 4 {
        return Err(no_count());
    }
    let count = check_count(body.get_i32(), size)?;
    let mut bodies = Vec::with_capacity(count);
    for index in 0..count {
        if body.len() < 4 {
            return Err(no_size(index));
        }
        let size = check_size(index, body.get_i32(), limits)?;
        if size > body.len() {
            return Err(no_body());
        }
        bodies.push(body.split_to(size));
    }
    if !body.is_empty() {
        let surplus = body.len();
        return Err(bad_body(format!(
            "MPUB body has {surplus} bytes behind its last message"
        )));
    }
    Ok(bodies)
}

/// How far the body of an MPUB that is still on its way was looked at.
///
/// nsqd reads it message by message and refuses at the first fault. Waiting for all of it first would let a client
/// that announced too much wait for a refusal that is certain already.
#[derive(Debug, Clone, Default)]
pub(super) struct Scan {
    count: Option<usize>,
    index: usize,
    /// Where the size of the message number `index` begins.
    position: usize,
}

impl Scan {
    /// Looks at what has come of a body of `size` bytes.
    pub(super) fn advance(
        &mut self,
        received: &[u8],
        size: usize,
        limits: &Limits,
    ) -> Result<(), ProtocolError> {
        let count = match self.count {
            Some(count) => count,
            None => {
                let Some(announced) = number_at(received, 0) else {
                    return Ok(());
                };
                self.position = 4;
                *self.count.insert(check_count(announced, size)?)
            }
        };
        while self.index < count
            && let Some(announced) = number_at(received, self.position)
        {
            self.position += 4 + check_size(self.index, announced, limits)?;
            self.index += 1;
            if self.position > size {
                return Err(no_body());
            }
        }
        Ok(())
    }

    /// What is missing when no more comes after `received` bytes.
    pub(super) fn missing(&self, received: usize) -> ProtocolError {
        if self.count.is_none() {
            no_count()
        } else if self.position > received {
            no_body()
        } else {
            no_size(self.index)
        }
    }
}

fn number_at(bytes: &[u8], position: usize) -> Option<i32> {
    let bytes = bytes.get(position..)?.first_chunk()?;
    Some(i32::from_be_bytes(*bytes))
}

/// nsqd allows what fits into its largest body, and goes on reading behind the announced end; here, the count has to
/// fit into this one.
fn check_count(announced: i32, size: usize) -> Result<usize, ProtocolError> {
    // Each message takes at least five bytes: its size and one byte.
    let most = size.saturating_sub(4) / 5;
    usize::try_from(announced)
        .ok()
        .filter(|count| (1..=most).contains(count))
        .ok_or_else(|| bad_body(format!("MPUB invalid message count {announced}")))
}

fn check_size(index: usize, announced: i32, limits: &Limits) -> Result<usize, ProtocolError> {
    let limit = limits.max_message_size;
    match usize::try_from(announced) {
        Ok(size) if size > limit => Err(bad_message(format!("MPUB message too big {size} > {limit}"))),
        Ok(size) if size > 0 => Ok(size),
        _ => Err(bad_message(format!(
            "MPUB invalid message({index}) body size {announced}"
        ))),
    }
}

fn no_count() -> ProtocolError {
    bad_body("MPUB failed to read message count".to_owned())
}

fn no_size(index: usize) -> ProtocolError {
    bad_message(format!("MPUB failed to read message({index}) body size"))
}

fn no_body() -> ProtocolError {
    bad_message("MPUB failed to read message body".to_owned())
}

fn bad_body(description: String) -> ProtocolError {
    ProtocolError::new(ErrorCode::BadBody, description)
}

fn bad_message(description: String) -> ProtocolError {
    ProtocolError::new(ErrorCode::BadMessage, description)
}
