//! What a client sends.

use std::time::Duration;

use almanet_nsq_proto::{
    ChannelName, Command, CommandDecoder, Identify, Limits, MessageId, ProtocolError, Secret, TopicName,
};
use bytes::{Bytes, BytesMut};

use super::pieces::{Decoded, decode, decode_in_any_pieces};

const LIMITS: Limits = Limits {
    max_line_length: 256,
    max_message_size: 1024,
    max_body_size: 4096,
    max_delay: Duration::from_secs(3600),
};

/// Commands: the same however they are cut, and the same after encoding and decoding.
pub fn command(data: &[u8]) {
    let (commands, _) = read(data);
    let mut wire = BytesMut::new();
    for command in &commands {
        command.encode(&mut wire);
    }
    // IDENTIFY names its fields anew, which can take more room than a peer took.
    let mut decoder = CommandDecoder::new(Limits {
        max_body_size: 16 * LIMITS.max_body_size,
        ..LIMITS
    });
    let most = 16 * LIMITS.max_body_size;
    let (again, error) = decode(&wire, wire.len(), most, |buffer| decoder.decode(buffer));
    assert_eq!(error, None, "what was encoded is refused");
    assert_eq!(commands, again, "not the same after encoding");
}

/// The body of MPUB: what is taken keeps to the limits, and its messages are what was sent.
pub fn publish(data: &[u8]) {
    let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let wire = [&b"MPUB t\n"[..], &size.to_be_bytes(), data].concat();
    let (commands, _) = read(&wire);
    let Some(Command::Mpub { bodies, .. }) = commands.first() else {
        assert!(commands.is_empty(), "another command than was sent: {commands:?}");
        return;
    };
    assert!(!bodies.is_empty() && data.len() <= LIMITS.max_body_size);
    let mut expected = u32::try_from(bodies.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec();
    for body in bodies {
        assert!(!body.is_empty() && body.len() <= LIMITS.max_message_size);
        expected.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        expected.extend_from_slice(body);
    }
    assert_eq!(expected, data, "other messages than were sent");
}

fn read(data: &[u8]) -> Decoded<Command, ProtocolError> {
    decode_in_any_pieces(data, LIMITS.max_body_size, || {
        let mut decoder = CommandDecoder::new(LIMITS);
        Box::new(move |buffer| decoder.decode(buffer))
    })
}

pub(crate) fn command_seeds() -> Vec<Vec<u8>> {
    let topic = TopicName::new("topic#ephemeral").expect("a name");
    let channel = ChannelName::new("channel").expect("a name");
    let id = MessageId::from_number(7);
    let body = Bytes::from_static(b"body");
    let identify = Identify {
        client_id: Some("client".into()),
        heartbeat_interval: Some(1000),
        ..Identify::default()
    };
    let delay = Duration::from_millis(1500);
    let commands = [
        Command::Identify(Box::new(identify)),
        Command::Auth(Secret::new("secret")),
        Command::Sub {
            topic: topic.clone(),
            channel,
        },
        Command::Pub {
            topic: topic.clone(),
            body: body.clone(),
        },
        Command::Mpub {
            topic: topic.clone(),
            bodies: vec![body.clone(), body.clone()],
        },
        Command::Dpub { topic, delay, body },
        Command::Rdy(5),
        Command::Fin(id),
        Command::Req { id, delay },
        Command::Touch(id),
        Command::Cls,
        Command::Nop,
    ];
    let mut all = BytesMut::new();
    let mut seeds = Vec::new();
    for command in commands {
        let mut wire = BytesMut::new();
        command.encode(&mut wire);
        all.extend_from_slice(&wire);
        seeds.push(wire.to_vec());
    }
    seeds.push(all.to_vec());
    seeds
}

pub(crate) fn publish_seeds() -> Vec<Vec<u8>> {
    vec![
        b"\0\0\0\x01\0\0\0\x04body".to_vec(),
        b"\0\0\0\x03\0\0\0\x01a\0\0\0\x02bc\0\0\0\x03def".to_vec(),
    ]
}
