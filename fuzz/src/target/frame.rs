//! What a broker sends.

use almanet_nsq_proto::{ErrorCode, Frame, FrameDecoder, Message, MessageId, OK, ProtocolError};
use bytes::{Bytes, BytesMut};

use super::pieces::{decode, decode_in_any_pieces};

const MAX_FRAME_SIZE: usize = 4096;

/// Frames: the same however they are cut, and the same after encoding and decoding.
pub fn frame(data: &[u8]) {
    let (frames, _) = decode_in_any_pieces(data, MAX_FRAME_SIZE, || {
        let mut decoder = FrameDecoder::new(MAX_FRAME_SIZE);
        Box::new(move |buffer| decoder.decode(buffer))
    });
    let mut wire = BytesMut::new();
    for frame in &frames {
        frame.encode(&mut wire);
    }
    // A text that is no UTF-8 is longer where it has been replaced.
    let mut decoder = FrameDecoder::new(4 * MAX_FRAME_SIZE);
    let (again, error) = decode(&wire, wire.len(), 4 * MAX_FRAME_SIZE, |buffer| {
        decoder.decode(buffer)
    });
    assert_eq!(error, None, "what was encoded is refused");
    assert_eq!(frames, again, "not the same after encoding");
}

pub(crate) fn frame_seeds() -> Vec<Vec<u8>> {
    let message = Message {
        timestamp: 1_700_000_000_000_000_000,
        attempts: 2,
        id: MessageId::from_number(7),
        body: Bytes::from_static(b"body"),
    };
    let frames = [
        Frame::Response(Bytes::from_static(OK)),
        Frame::Error(ProtocolError::new(ErrorCode::FinFailed, "not in flight")),
        Frame::Message(message),
    ];
    let mut all = BytesMut::new();
    let mut seeds = Vec::new();
    for frame in frames {
        let mut wire = BytesMut::new();
        frame.encode(&mut wire);
        all.extend_from_slice(&wire);
        seeds.push(wire.to_vec());
    }
    seeds.push(all.to_vec());
    seeds
}
