//! The decoders and encoders as [`tokio_util::codec`] pairs.

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use crate::{
    command::{Command, CommandDecoder, Limits},
    error::CodecError,
    frame::{Frame, FrameDecoder},
};

/// A client's side of a connection: commands out, frames in.
#[derive(Debug, Clone)]
pub struct ClientCodec {
    frames: FrameDecoder,
}

impl ClientCodec {
    /// A codec that refuses frames of more than `max_frame_size` bytes.
    pub fn new(max_frame_size: usize) -> Self {
        Self {
            frames: FrameDecoder::new(max_frame_size),
        }
    }
}

impl Decoder for ClientCodec {
    type Item = Frame;
    type Error = CodecError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        Ok(self.frames.decode(src)?)
    }
}

impl Encoder<Command> for ClientCodec {
    type Error = CodecError;

    fn encode(&mut self, command: Command, dst: &mut BytesMut) -> Result<(), CodecError> {
        command.encode(dst);
        Ok(())
    }
}

/// A broker's side of a connection, after the magic: frames out, commands in.
#[derive(Debug, Clone)]
pub struct ServerCodec {
    commands: CommandDecoder,
}

impl ServerCodec {
    /// A codec that refuses what is beyond `limits`.
    pub fn new(limits: Limits) -> Self {
        Self {
            commands: CommandDecoder::new(limits),
        }
    }
}

impl Decoder for ServerCodec {
    type Item = Command;
    type Error = CodecError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Command>, CodecError> {
        Ok(self.commands.decode(src)?)
    }
}

impl Encoder<Frame> for ServerCodec {
    type Error = CodecError;

    fn encode(&mut self, frame: Frame, dst: &mut BytesMut) -> Result<(), CodecError> {
        frame.encode(dst);
        Ok(())
    }
}
