//! Compression of a connection: what is written leaves at once, what is read is unpacked piece by piece.

use std::{
    io::{self, Read, Write},
    mem,
};

use bytes::{
    Buf, BufMut, BytesMut,
    buf::{Reader, Writer},
};
use flate2::{Decompress, FlushDecompress, Status, write::DeflateEncoder};
use snap::{read::FrameDecoder, write::FrameEncoder};

/// How much is unpacked in one go. A frame that is too large is refused by its head, so no more is ever in memory
/// that the peer did not pay for.
const PIECE_BYTES: usize = 64 * 1024;
/// The type and the size of a snappy chunk.
const CHUNK_HEAD: usize = 4;
/// The largest chunk that holds the 64 KiB which the framing format allows: a checksum, and snappy's worst case.
const LARGEST_CHUNK: usize = 4 + 32 + PIECE_BYTES + PIECE_BYTES / 6;

/// Compresses what goes out.
pub struct Packer(Encoder);

enum Encoder {
    Snappy(Box<FrameEncoder<Writer<BytesMut>>>),
    Deflate(DeflateEncoder<Writer<BytesMut>>),
}

impl Packer {
    /// In snappy's framing format.
    pub fn snappy() -> Self {
        Self(Encoder::Snappy(Box::new(FrameEncoder::new(
            BytesMut::new().writer(),
        ))))
    }

    /// In raw deflate, with a level from 1 (fast) to 9 (small).
    pub fn deflate(level: u8) -> Self {
        let level = flate2::Compression::new(u32::from(level.min(9)));
        Self(Encoder::Deflate(DeflateEncoder::new(
            BytesMut::new().writer(),
            level,
        )))
    }

    /// Puts the packed form of `buffer` in its place, whole: the peer can unpack all of it.
    ///
    /// # Errors
    ///
    /// What the compressing library says. There is nothing that it refuses.
    pub fn pack(&mut self, buffer: &mut BytesMut) -> io::Result<()> {
        match &mut self.0 {
            Encoder::Snappy(encoder) => {
                encoder.write_all(buffer)?;
                encoder.flush()?;
                *buffer = mem::take(encoder.get_mut().get_mut());
            }
            Encoder::Deflate(encoder) => {
                encoder.write_all(buffer)?;
                encoder.flush()?;
                *buffer = mem::take(encoder.get_mut().get_mut());
            }
        }
        Ok(())
    }

    /// What says that nothing more will come, as the format has it.
    ///
    /// # Errors
    ///
    /// As [`pack`](Self::pack).
    pub fn finish(self) -> io::Result<BytesMut> {
        match self.0 {
            Encoder::Snappy(_) => Ok(BytesMut::new()),
            Encoder::Deflate(encoder) => Ok(encoder.finish()?.into_inner()),
        }
    }
}

/// Decompresses what comes in.
pub struct Unpacker {
    format: Format,
    /// What was received and not unpacked yet: less than two pieces.
    packed: BytesMut,
    piece: Box<[u8]>,
}

enum Format {
    Snappy(Box<FrameDecoder<Reader<BytesMut>>>),
    Deflate(Decompress),
}

impl Unpacker {
    /// Reads snappy's framing format: `packed`, and what is appended to it.
    pub fn snappy(packed: BytesMut) -> Self {
        let decoder = FrameDecoder::new(BytesMut::new().reader());
        Self::new(Format::Snappy(Box::new(decoder)), packed)
    }

    /// Reads raw deflate: `packed`, and what is appended to it.
    pub fn deflate(packed: BytesMut) -> Self {
        Self::new(Format::Deflate(Decompress::new(false)), packed)
    }

    fn new(format: Format, packed: BytesMut) -> Self {
        Self {
            format,
            packed,
            piece: vec![0; PIECE_BYTES].into_boxed_slice(),
        }
    }

    /// Where to append what was received.
    pub fn packed(&mut self) -> &mut BytesMut {
        &mut self.packed
    }

    /// Appends the next piece to `unpacked`, of at most 64 KiB, and returns its size.
    ///
    /// 0 at the end of the stream; `None` where more has to be received first.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] or what the library says, when what was received is not of the format.
    pub fn unpack(&mut self, unpacked: &mut BytesMut) -> io::Result<Option<usize>> {
        let size = match &mut self.format {
            Format::Snappy(decoder) => unsnap(decoder, &mut self.packed, &mut self.piece)?,
            Format::Deflate(inflater) => inflate(inflater, &mut self.packed, &mut self.piece)?,
        };
        if let Some(piece) = size.and_then(|size| self.piece.get(..size)) {
            unpacked.extend_from_slice(piece);
        }
        Ok(size)
    }
}

fn unsnap(
    decoder: &mut FrameDecoder<Reader<BytesMut>>,
    packed: &mut BytesMut,
    piece: &mut [u8],
) -> io::Result<Option<usize>> {
    loop {
        // The decoder cannot wait in the middle of a chunk, so it only ever sees whole ones.
        match decoder.read(piece)? {
            0 => match whole_chunk(packed)? {
                Some(chunk) => *decoder.get_mut().get_mut() = chunk,
                None => return Ok(None),
            },
            size => return Ok(Some(size)),
        }
    }
}

fn whole_chunk(packed: &mut BytesMut) -> io::Result<Option<BytesMut>> {
    let Some([_, low, middle, high]) = packed.first_chunk::<CHUNK_HEAD>() else {
        return Ok(None);
    };
    let size = u32::from_le_bytes([*low, *middle, *high, 0]) as usize;
    if size > LARGEST_CHUNK {
        let text = format!("a snappy chunk of {size} bytes is larger than the format allows");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let whole = CHUNK_HEAD + size;
    Ok((packed.len() >= whole).then(|| packed.split_to(whole)))
}

fn inflate(inflater: &mut Decompress, packed: &mut BytesMut, piece: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        let (taken, made) = (inflater.total_in(), inflater.total_out());
        let status = inflater.decompress(packed, piece, FlushDecompress::None)?;
        // Both are at most what was given, so they fit.
        let taken = (inflater.total_in() - taken) as usize;
        let made = (inflater.total_out() - made) as usize;
        packed.advance(taken);
        match (status, made) {
            (_, 1..) => return Ok(Some(made)),
            (Status::StreamEnd, 0) => return Ok(Some(0)),
            // An empty block, which a flush leaves behind, gives nothing.
            _ if taken > 0 => {}
            _ => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Both = (fn() -> Packer, fn(BytesMut) -> Unpacker);

    const BOTH: [Both; 2] = [
        (Packer::snappy, Unpacker::snappy),
        (|| Packer::deflate(1), Unpacker::deflate),
    ];

    fn packed(packer: &mut Packer, bytes: &[u8]) -> BytesMut {
        let mut buffer = BytesMut::from(bytes);
        packer.pack(&mut buffer).unwrap();
        buffer
    }

    /// Feeds `wire` in steps, and returns all that comes out.
    fn unpacked(unpacker: &mut Unpacker, wire: &[u8], step: usize) -> io::Result<BytesMut> {
        let mut all = BytesMut::new();
        for bytes in wire.chunks(step) {
            unpacker.packed().extend_from_slice(bytes);
            while let Some(size) = unpacker.unpack(&mut all)? {
                assert!(size <= PIECE_BYTES, "{size} bytes at once");
                if size == 0 {
                    return Ok(all);
                }
            }
        }
        Ok(all)
    }

    /// Neither all alike nor all different, and of several pieces.
    fn text() -> Vec<u8> {
        (0..40_000)
            .flat_map(|number: u32| number.to_string().into_bytes())
            .collect()
    }

    #[test]
    fn each_write_can_be_read_at_once_however_it_is_cut() {
        for (packer, unpacker) in BOTH {
            for step in [1, 7, 100_000] {
                let mut packer = packer();
                let mut unpacker = unpacker(BytesMut::new());
                for bytes in [&b"OK"[..], &text(), b"x"] {
                    let wire = packed(&mut packer, bytes);
                    assert_eq!(unpacked(&mut unpacker, &wire, step).unwrap(), bytes);
                }
            }
        }
    }

    #[test]
    fn texts_shrink() {
        for (packer, _) in BOTH {
            let text = text();
            let size = packed(&mut packer(), &text).len();
            assert!(size < text.len(), "{size} of {}", text.len());
        }
    }

    #[test]
    fn garbage_is_an_error() {
        for (_, unpacker) in BOTH {
            let mut unpacker = unpacker(BytesMut::new());
            let garbage = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            assert!(unpacked(&mut unpacker, garbage, 1).is_err());
        }
    }

    #[test]
    fn a_snappy_chunk_that_is_too_large_is_refused_before_it_is_there() {
        let mut unpacker = Unpacker::snappy(BytesMut::new());
        let error = unpacked(&mut unpacker, b"\xff\x06\0\0sNaPpY\xfe\xff\xff\xff", 100).unwrap_err();
        assert!(error.to_string().contains("16777215 bytes"), "{error}");
    }

    #[test]
    fn a_snappy_chunk_with_a_wrong_checksum_is_refused() {
        let mut wire = packed(&mut Packer::snappy(), b"OK");
        *wire.last_mut().unwrap() ^= 1;
        let mut unpacker = Unpacker::snappy(BytesMut::new());
        assert!(unpacked(&mut unpacker, &wire, 100).is_err());
    }

    #[test]
    fn skippable_snappy_chunks_are_skipped() {
        let mut wire = b"\xff\x06\0\0sNaPpY\xfe\x02\0\0..\x80\x01\0\0.".to_vec();
        wire.extend_from_slice(&packed(&mut Packer::snappy(), b"OK"));
        let mut unpacker = Unpacker::snappy(BytesMut::new());
        assert_eq!(unpacked(&mut unpacker, &wire, 1).unwrap(), &b"OK"[..]);
    }

    #[test]
    fn a_deflate_stream_can_end() {
        let mut packer = Packer::deflate(1);
        let mut wire = packed(&mut packer, b"bye");
        wire.extend_from_slice(&packer.finish().unwrap());
        let mut unpacker = Unpacker::deflate(BytesMut::new());
        assert_eq!(unpacked(&mut unpacker, &wire, 100).unwrap(), &b"bye"[..]);
        assert_eq!(unpacker.unpack(&mut BytesMut::new()).unwrap(), Some(0));
    }
}
