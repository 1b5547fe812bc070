//! Every value survives its own encoding, however the bytes are cut, and no bytes make a decoder fail badly.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use almanet_nsq_proto::{
    ChannelName, Command, CommandDecoder, ErrorCode, Frame, FrameDecoder, Identify, Limits, Message,
    MessageId, ProtocolError, Secret, TopicName,
};
use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, option, prelude::*};

const LIMITS: Limits = Limits {
    max_line_length: 256,
    max_message_size: 512,
    max_body_size: 4096,
    max_delay: Duration::MAX,
};
const MAX_FRAME_SIZE: usize = 1024;

fn topic() -> impl Strategy<Value = TopicName> {
    "[.a-zA-Z0-9_-]{1,54}(#ephemeral)?".prop_map(|name| TopicName::new(name).unwrap())
}

fn channel() -> impl Strategy<Value = ChannelName> {
    "[.a-zA-Z0-9_-]{1,54}(#ephemeral)?".prop_map(|name| ChannelName::new(name).unwrap())
}

fn body() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 1..=512).prop_map(Bytes::from)
}

fn id() -> impl Strategy<Value = MessageId> {
    any::<[u8; 16]>().prop_map(MessageId::new)
}

fn delay() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_millis)
}

prop_compose! {
    fn identify()(
        client_id in option::of(".{0,20}"),
        heartbeat_interval in option::of(any::<i64>()),
        feature_negotiation in option::of(any::<bool>()),
        sample_rate in option::of(any::<i32>().prop_map(i64::from)),
    ) -> Identify {
        Identify { client_id, heartbeat_interval, feature_negotiation, sample_rate, ..Identify::default() }
    }
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        identify().prop_map(|identify| Command::Identify(Box::new(identify))),
        body().prop_map(|body| Command::Auth(Secret::new(body))),
        (topic(), channel()).prop_map(|(topic, channel)| Command::Sub { topic, channel }),
        (topic(), body()).prop_map(|(topic, body)| Command::Pub { topic, body }),
        (topic(), vec(body(), 1..6)).prop_map(|(topic, bodies)| Command::Mpub { topic, bodies }),
        (topic(), delay(), body()).prop_map(|(topic, delay, body)| Command::Dpub { topic, delay, body }),
        any::<u64>().prop_map(Command::Rdy),
        // Ids end at a space or a line feed, so those bytes cannot be in one that travels.
        "[0-9a-f]{16}".prop_map(|id| Command::Fin(MessageId::new(id.as_bytes().try_into().unwrap()))),
        ("[0-9a-f]{16}", delay()).prop_map(|(id, delay)| Command::Req {
            id: MessageId::new(id.as_bytes().try_into().unwrap()),
            delay
        }),
        "[0-9a-f]{16}".prop_map(|id| Command::Touch(MessageId::new(id.as_bytes().try_into().unwrap()))),
        Just(Command::Cls),
        Just(Command::Nop),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        vec(any::<u8>(), 0..100).prop_map(|data| Frame::Response(data.into())),
        ("E_[A-Z_]{1,20}", "[^ ].{0,60}").prop_map(|(code, description)| Frame::Error(ProtocolError::new(
            ErrorCode::from(code.as_str()),
            description
        ))),
        (any::<i64>(), any::<u16>(), id(), body()).prop_map(
            |(timestamp, attempts, id, body)| Frame::Message(Message {
                timestamp,
                attempts,
                id,
                body
            })
        ),
    ]
}

/// Feeds `wire` in pieces of `step` bytes and gathers what comes out; stops at the first error.
fn feed<T, E>(
    wire: &[u8],
    step: usize,
    mut decode: impl FnMut(&mut BytesMut) -> Result<Option<T>, E>,
) -> (Vec<T>, Option<E>, usize) {
    let mut buffer = BytesMut::new();
    let mut values = Vec::new();
    let mut most_reserved = 0;
    for piece in wire.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match decode(&mut buffer) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(error) => return (values, Some(error), most_reserved),
            }
            most_reserved = most_reserved.max(buffer.capacity());
        }
        most_reserved = most_reserved.max(buffer.capacity());
    }
    (values, None, most_reserved)
}

proptest! {
    #[test]
    fn commands_round_trip(commands in vec(command(), 1..8), step in 1usize..600) {
        let mut wire = BytesMut::new();
        commands.iter().for_each(|command| command.encode(&mut wire));
        let mut decoder = CommandDecoder::new(LIMITS);
        let (decoded, error, _) = feed(&wire, step, |buffer| decoder.decode(buffer));
        prop_assert_eq!(error, None);
        prop_assert_eq!(decoded, commands);
    }

    #[test]
    fn frames_round_trip(frames in vec(frame(), 1..8), step in 1usize..600) {
        let mut wire = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut wire));
        let mut decoder = FrameDecoder::new(MAX_FRAME_SIZE);
        let (decoded, error, _) = feed(&wire, step, |buffer| decoder.decode(buffer));
        prop_assert_eq!(error, None);
        prop_assert_eq!(decoded, frames);
    }

    #[test]
    fn arbitrary_bytes_reserve_no_more_than_the_limits(wire in vec(any::<u8>(), 0..2000), step in 1usize..64) {
        let mut commands = CommandDecoder::new(LIMITS);
        let (_, _, reserved) = feed(&wire, step, |buffer| commands.decode(buffer));
        prop_assert!(reserved <= 2 * (LIMITS.max_body_size + wire.len()), "reserved {reserved}");

        let mut frames = FrameDecoder::new(MAX_FRAME_SIZE);
        let (_, _, reserved) = feed(&wire, step, |buffer| frames.decode(buffer));
        prop_assert!(reserved <= 2 * (MAX_FRAME_SIZE + wire.len()), "reserved {reserved}");
    }

    #[test]
    fn a_command_with_one_byte_changed_reserves_no_more_than_the_limits(
        command in command(),
        index in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut wire = BytesMut::new();
        command.encode(&mut wire);
        let index = index.index(wire.len());
        wire[index] = byte;
        let mut decoder = CommandDecoder::new(LIMITS);
        let (_, _, reserved) = feed(&wire, 7, |buffer| decoder.decode(buffer));
        prop_assert!(reserved <= 2 * (LIMITS.max_body_size + wire.len()), "reserved {reserved}");
    }
}
