//! PUB, MPUB and DPUB: the publisher's commands and their bodies.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    consume::{invalid, number, text},
    millis,
    parse::{Limits, Params},
    put_number, put_size, put_sized,
};
use crate::{
    error::{ErrorCode, ProtocolError},
    name::TopicName,
};

pub(super) fn encode_pub(dst: &mut BytesMut, topic: &TopicName, body: &[u8]) {
    dst.reserve(topic.as_str().len() + body.len() + 16);
    dst.put_slice(b"PUB ");
    dst.put_slice(topic.as_str().as_bytes());
    dst.put_u8(b'\n');
    put_sized(dst, body);
}

pub(super) fn encode_mpub(dst: &mut BytesMut, topic: &TopicName, bodies: &[Bytes]) {
    let size = 4 + bodies.iter().map(|body| 4 + body.len()).sum::<usize>();
    dst.reserve(topic.as_str().len() + size + 16);
    dst.put_slice(b"MPUB ");
    dst.put_slice(topic.as_str().as_bytes());
    dst.put_u8(b'\n');
    put_size(dst, size);
    put_size(dst, bodies.len());
    for body in bodies {
        put_sized(dst, body);
    }
}

pub(super) fn encode_dpub(dst: &mut BytesMut, topic: &TopicName, delay: Duration, body: &[u8]) {
    dst.put_slice(b"DPUB ");
    dst.put_slice(topic.as_str().as_bytes());
    dst.put_u8(b' ');
    put_number(dst, millis(delay));
    dst.put_u8(b'\n');
    put_sized(dst, body);
}

/// The topic that `PUB`, `MPUB` or `DPUB` (`command`) names.
pub(super) fn parse_topic(command: &str, params: &Params<'_>) -> Result<TopicName, ProtocolError> {
    let topic = params
        .get(0)
        .ok_or_else(|| invalid(format!("{command} insufficient number of parameters")))?;
    let topic = text(topic);
    TopicName::new(&topic).map_err(|_| {
        ProtocolError::new(
            ErrorCode::BadTopic,
            format!("{command} topic name {topic:?} is not valid"),
        )
    })
}

/// The delay that `DPUB` names. Its range is the broker's matter, not the syntax's.
pub(super) fn parse_delay(params: &Params<'_>) -> Result<Duration, ProtocolError> {
    let delay = params
        .get(1)
        .ok_or_else(|| invalid("DPUB insufficient number of parameters"))?;
    number(delay)
        .map(Duration::from_millis)
        .ok_or_else(|| invalid(format!("DPUB could not parse timeout {}", text(delay))))
}

/// Checks the announced size of the body of `PUB` or `DPUB` (`command`).
pub(super) fn check_message_size(
    command: &str,
    announced: i32,
    limits: &Limits,
) -> Result<usize, ProtocolError> {
    let bad = |description| ProtocolError::new(ErrorCode::BadMessage, description);
    match usize::try_from(announced) {
        Ok(size) if size > limits.max_message_size => Err(bad(format!(
            "{command} message too big {size} > {}",
            limits.max_message_size
        ))),
        Ok(size) if size > 0 => Ok(size),
        _ => Err(bad(format!("{command} invalid message body size {announced}"))),
    }
}

/// Takes the body of `MPUB` apart: a count, then each message behind its size.
pub(super) fn split_bodies(mut body: Bytes, limits: &Limits) -> Result<Vec<Bytes>, ProtocolError> {
    let bad_body = |description| ProtocolError::new(ErrorCode::BadBody, description);
    let bad_message = |description| ProtocolError::new(ErrorCode::BadMessage, description);

    if body.len() < 4 {
        return Err(bad_body("MPUB failed to read message count".to_owned()));
    }
    // Each message takes at least five bytes: its size and one byte.
    let most = (body.len() - 4) / 5;
    let announced = body.get_i32();
    let count = usize::try_from(announced)
        .ok()
        .filter(|count| (1..=most).contains(count))
        .ok_or_else(|| bad_body(format!("MPUB invalid message count {announced}")))?;

    let mut bodies = Vec::with_capacity(count);
    for index in 0..count {
        if body.len() < 4 {
            return Err(bad_message(format!(
                "MPUB failed to read message({index}) body size"
            )));
        }
        let announced = body.get_i32();
        let size = usize::try_from(announced)
            .ok()
            .filter(|size| *size > 0)
            .ok_or_else(|| bad_message(format!("MPUB invalid message({index}) body size {announced}")))?;
        if size > limits.max_message_size {
            return Err(bad_message(format!(
                "MPUB message too big {size} > {}",
                limits.max_message_size
            )));
        }
        if size > body.len() {
            return Err(bad_message("MPUB failed to read message body".to_owned()));
        }
        bodies.push(body.split_to(size));
    }
    // nsqd takes the rest for the next command, which ends the connection after the publish was confirmed.
    if !body.is_empty() {
        return Err(bad_body(format!(
            "MPUB {} bytes after the last message",
            body.len()
        )));
    }
    Ok(bodies)
}
