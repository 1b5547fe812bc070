//! SUB, RDY, FIN, REQ and TOUCH: the subscriber's commands.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::{Command, millis, parse::Params, put_number, quote::Quoted};
use crate::{
    error::{ErrorCode, ProtocolError},
    message::MessageId,
    name::{ChannelName, TopicName},
};

pub(super) fn encode_sub(dst: &mut BytesMut, topic: &TopicName, channel: &ChannelName) {
    dst.put_slice(b"SUB ");
    dst.put_slice(topic.as_str().as_bytes());
    dst.put_u8(b' ');
    dst.put_slice(channel.as_str().as_bytes());
    dst.put_u8(b'\n');
}

pub(super) fn encode_rdy(dst: &mut BytesMut, count: u64) {
    dst.put_slice(b"RDY ");
    put_number(dst, count);
    dst.put_u8(b'\n');
}

pub(super) fn encode_fin(dst: &mut BytesMut, id: &MessageId) {
    dst.put_slice(b"FIN ");
    dst.put_slice(id.as_bytes());
    dst.put_u8(b'\n');
}

pub(super) fn encode_req(dst: &mut BytesMut, id: &MessageId, delay: Duration) {
    dst.put_slice(b"REQ ");
    dst.put_slice(id.as_bytes());
    dst.put_u8(b' ');
    put_number(dst, millis(delay));
    dst.put_u8(b'\n');
}

pub(super) fn encode_touch(dst: &mut BytesMut, id: &MessageId) {
    dst.put_slice(b"TOUCH ");
    dst.put_slice(id.as_bytes());
    dst.put_u8(b'\n');
}

pub(super) fn parse_sub(params: &Params<'_>) -> Result<Command, ProtocolError> {
    let [Some(topic), Some(channel)] = [params.get(0), params.get(1)] else {
        return Err(invalid("SUB insufficient number of parameters"));
    };
    Ok(Command::Sub {
        topic: name(topic, TopicName::new).ok_or_else(|| {
            ProtocolError::new(
                ErrorCode::BadTopic,
                format!("SUB topic name {} is not valid", Quoted(topic)),
            )
        })?,
        channel: name(channel, ChannelName::new).ok_or_else(|| {
            ProtocolError::new(
                ErrorCode::BadChannel,
                format!("SUB channel name {} is not valid", Quoted(channel)),
            )
        })?,
    })
}

/// The name that `param` is, if it is one.
pub(super) fn name<'a, T, E>(param: &'a [u8], new: impl FnOnce(&'a str) -> Result<T, E>) -> Option<T> {
    str::from_utf8(param).ok().and_then(|text| new(text).ok())
}

pub(super) fn parse_rdy(params: &Params<'_>) -> Result<Command, ProtocolError> {
    // A RDY without a count means one (nsqd's `protocol_v2.go`).
    let Some(count) = params.get(0) else {
        return Ok(Command::Rdy(1));
    };
    number(count)
        .map(Command::Rdy)
        .ok_or_else(|| invalid(format!("RDY could not parse count {}", text(count))))
}

pub(super) fn parse_fin(params: &Params<'_>) -> Result<Command, ProtocolError> {
    let id = params
        .get(0)
        .ok_or_else(|| invalid("FIN insufficient number of params"))?;
    message_id(id).map(Command::Fin)
}

pub(super) fn parse_req(params: &Params<'_>) -> Result<Command, ProtocolError> {
    let [Some(id), Some(delay)] = [params.get(0), params.get(1)] else {
        return Err(invalid("REQ insufficient number of params"));
    };
    let id = message_id(id)?;
    let delay =
        number(delay).ok_or_else(|| invalid(format!("REQ could not parse timeout {}", text(delay))))?;
    Ok(Command::Req {
        id,
        delay: Duration::from_millis(delay),
    })
}

pub(super) fn parse_touch(params: &Params<'_>) -> Result<Command, ProtocolError> {
    let id = params
        .get(0)
        .ok_or_else(|| invalid("TOUCH insufficient number of params"))?;
    message_id(id).map(Command::Touch)
}

fn message_id(param: &[u8]) -> Result<MessageId, ProtocolError> {
    param
        .try_into()
        .map(MessageId::new)
        .map_err(|_| invalid("invalid message ID"))
}

/// Decimal digits only: nsqd takes no sign and no space here.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

pub(super) fn invalid(description: impl Into<String>) -> ProtocolError {
    ProtocolError::new(ErrorCode::Invalid, description)
}

pub(super) fn text(param: &[u8]) -> String {
    String::from_utf8_lossy(param).into_owned()
}
