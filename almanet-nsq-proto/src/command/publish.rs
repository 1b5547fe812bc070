//! PUB, MPUB and DPUB: the publisher's commands.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    consume::{invalid, name, number, text},
    millis,
    parse::{Limits, Params},
    put_number, put_size, put_sized,
    quote::Quoted,
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

pub(super) fn encode_mpub<'a>(
    dst: &mut BytesMut,
    topic: &TopicName,
    bodies: impl Iterator<Item = &'a Bytes> + Clone,
) {
    let (count, size) = bodies
        .clone()
        .fold((0, 4), |(count, size), body| (count + 1, size + 4 + body.len()));
    dst.reserve(topic.as_str().len() + size + 16);
    dst.put_slice(b"MPUB ");
    dst.put_slice(topic.as_str().as_bytes());
    dst.put_u8(b'\n');
    put_size(dst, size);
    put_size(dst, count);
    for body in bodies {
        put_size(dst, body.len());
        dst.extend_from_slice(body);
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
    name(topic, TopicName::new).ok_or_else(|| {
        // nsqd says the code of this one twice.
        let twice = if command == "MPUB" { "E_BAD_TOPIC " } else { "" };
        let description = format!("{twice}{command} topic name {} is not valid", Quoted(topic));
        ProtocolError::new(ErrorCode::BadTopic, description)
    })
}

/// The delay that `DPUB` names.
pub(super) fn parse_delay(params: &Params<'_>, limits: &Limits) -> Result<Duration, ProtocolError> {
    let delay = params
        .get(1)
        .ok_or_else(|| invalid("DPUB insufficient number of parameters"))?;
    let asked =
        number(delay).ok_or_else(|| invalid(format!("DPUB could not parse timeout {}", text(delay))))?;
    let most = millis(limits.max_delay);
    if asked > most {
        return Err(invalid(format!("DPUB timeout {asked} out of range 0-{most}")));
    }
    Ok(Duration::from_millis(asked))
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
