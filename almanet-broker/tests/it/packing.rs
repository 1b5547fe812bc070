//! The form in which a client's bytes travel.

use std::io;

use almanet_nsq_proto::{Packer, Unpacker};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A client's side of snappy or deflate.
pub(crate) struct Packing {
    packer: Packer,
    unpacker: Unpacker,
    unpacked: BytesMut,
    has_ended: bool,
}

impl Packing {
    pub(crate) fn snappy() -> Self {
        Self::new(Packer::snappy(), Unpacker::snappy(BytesMut::new()))
    }

    pub(crate) fn deflate() -> Self {
        Self::new(Packer::deflate(6), Unpacker::deflate(BytesMut::new()))
    }

    fn new(packer: Packer, unpacker: Unpacker) -> Self {
        Self {
            packer,
            unpacker,
            unpacked: BytesMut::new(),
            has_ended: false,
        }
    }

    /// Whether the broker has ended the compressed stream, as its format has it.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    pub(crate) fn pack(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = BytesMut::from(bytes);
        self.packer.pack(&mut buffer).unwrap();
        buffer.to_vec()
    }

    pub(crate) async fn read_exact<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        bytes: &mut [u8],
    ) -> io::Result<()> {
        while self.unpacked.len() < bytes.len() {
            let is_over = match self.unpacker.unpack(&mut self.unpacked)? {
                Some(0) => {
                    self.has_ended = true;
                    true
                }
                Some(_) => false,
                None => stream.read_buf(self.unpacker.packed()).await? == 0,
            };
            if is_over {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        bytes.copy_from_slice(&self.unpacked.split_to(bytes.len()));
        Ok(())
    }
}
