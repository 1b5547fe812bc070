//! What a client sends: one type for all commands, encoded here, decoded in [`parse`].

mod bodies;
mod consume;
mod gate;
mod parse;
mod publish;
mod quote;

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    identify::Identify,
    message::MessageId,
    name::{ChannelName, TopicName},
    secret::Secret,
};

pub use gate::{Admission, Gate, Verb};
pub use parse::{CommandDecoder, Limits};

/// The four bytes that open every connection, before the first command.
pub const MAGIC_V2: &[u8; 4] = b"  V2";

/// One command from a client to a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Who the client is and which features it asks for. Answered with `OK` or an identify response.
    Identify(Box<Identify>),
    /// A secret. Answered with a JSON text that says what it allows.
    Auth(Secret),
    /// Subscribe this connection, once. Answered with `OK`.
    Sub {
        /// The topic to read.
        topic: TopicName,
        /// The channel to share with the other subscribers of that channel.
        channel: ChannelName,
    },
    /// Publish one message. Answered with `OK` once the broker has taken it in.
    Pub {
        /// Where to publish.
        topic: TopicName,
        /// The message: at least one byte.
        body: Bytes,
    },
    /// Publish several messages at once, all or none. Answered with one `OK`.
    Mpub {
        /// Where to publish.
        topic: TopicName,
        /// The messages: at least one, each of at least one byte.
        bodies: Vec<Bytes>,
    },
    /// Publish one message that is delivered after a delay. Answered with `OK`.
    Dpub {
        /// Where to publish.
        topic: TopicName,
        /// How long to wait, in whole milliseconds (the rest is cut off).
        delay: Duration,
        /// The message: at least one byte.
        body: Bytes,
    },
    /// How many messages may be in flight to this connection. Not answered.
    Rdy(u64),
    /// The message is done. Answered only when that fails.
    Fin(MessageId),
    /// The message shall be delivered again. Answered only when that fails.
    Req {
        /// The message.
        id: MessageId,
        /// How long the broker shall wait first, in whole milliseconds (the rest is cut off).
        delay: Duration,
    },
    /// The message needs more time: its timeout starts anew. Answered only when that fails.
    Touch(MessageId),
    /// No further messages, please. Answered with `CLOSE_WAIT`.
    Cls,
    /// Nothing; the answer to a heartbeat. Not answered.
    Nop,
}

impl Command {
    /// Appends the command as it travels.
    pub fn encode(&self, dst: &mut BytesMut) {
        match self {
            Self::Identify(identify) => {
                dst.put_slice(b"IDENTIFY\n");
                // Serialising plain optional numbers and texts cannot fail.
                let body = serde_json::to_vec(identify).unwrap_or_default();
                put_sized(dst, &body);
            }
            Self::Auth(secret) => {
                dst.put_slice(b"AUTH\n");
                put_sized(dst, secret.reveal());
            }
            Self::Sub { topic, channel } => consume::encode_sub(dst, topic, channel),
            Self::Pub { topic, body } => publish::encode_pub(dst, topic, body),
            Self::Mpub { topic, bodies } => publish::encode_mpub(dst, topic, bodies.iter()),
            Self::Dpub { topic, delay, body } => publish::encode_dpub(dst, topic, *delay, body),
            Self::Rdy(count) => consume::encode_rdy(dst, *count),
            Self::Fin(id) => consume::encode_fin(dst, id),
            Self::Req { id, delay } => consume::encode_req(dst, id, *delay),
            Self::Touch(id) => consume::encode_touch(dst, id),
            Self::Cls => dst.put_slice(b"CLS\n"),
            Self::Nop => dst.put_slice(b"NOP\n"),
        }
    }

    /// Appends an [`Mpub`](Self::Mpub) of bodies that are in different places.
    pub fn encode_mpub<'a>(
        dst: &mut BytesMut,
        topic: &TopicName,
        bodies: impl Iterator<Item = &'a Bytes> + Clone,
    ) {
        publish::encode_mpub(dst, topic, bodies);
    }
}

/// Appends a four-byte size and the bytes it counts.
fn put_sized(dst: &mut BytesMut, body: &[u8]) {
    dst.reserve(4 + body.len());
    put_size(dst, body.len());
    dst.put_slice(body);
}

fn put_size(dst: &mut BytesMut, size: usize) {
    // A size beyond 2 GiB is beyond every broker's limit; sent like this, it is refused.
    dst.put_i32(i32::try_from(size).unwrap_or(i32::MAX));
}

/// Appends decimal digits.
fn put_number(dst: &mut BytesMut, mut number: u64) {
    let mut digits = [0; 20];
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        length += 1;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = digits.last_chunk::<20>().and_then(|all| all.get(20 - length..)) {
        dst.put_slice(digits);
    }
}

fn millis(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}
