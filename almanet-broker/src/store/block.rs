//! The file format: records in blocks, each with its checksum. See docs/broker-state.md.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes};

use super::record::{Record, RecordError};

/// The first bytes of a file.
const MAGIC: [u8; 8] = *b"ALMANSQ\n";

/// The version that is written, and the only one that is read.
const VERSION: u16 = 1;

/// A block that has this many bytes is complete. The largest message makes the largest block.
pub(super) const BLOCK: usize = 64 * 1024;

/// The length and the checksum before each block.
pub(super) const BLOCK_HEADER: usize = 8;

/// Why a file cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum DamageError {
    #[error("it does not begin as a saved state does")]
    Magic,
    #[error("it has version {0} of the format, and this program reads version {VERSION} only")]
    Version(u16),
    #[error("it ends early")]
    Truncated,
    #[error("a checksum is wrong")]
    Checksum,
    #[error("{0}")]
    Record(#[from] RecordError),
    #[error("a channel or message comes before any topic")]
    NoTopic,
    #[error("there is something behind its end")]
    Trailing,
    #[error("reading fails: {0}")]
    Io(io::Error),
}

impl From<io::Error> for DamageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(error),
        }
    }
}

/// Writes a whole file; `now` is in nanoseconds since 1970.
pub(super) fn write(
    mut file: impl Write,
    now: i64,
    records: &mut dyn Iterator<Item = Record>,
) -> io::Result<()> {
    let mut head = Vec::new();
    head.put_slice(&MAGIC);
    head.put_u16(VERSION);
    head.put_i64(now);
    head.put_u32(crc32fast::hash(&head));
    file.write_all(&head)?;

    let mut block = Vec::with_capacity(2 * BLOCK);
    begin(&mut block);
    for record in records {
        record.encode(&mut block);
        if block.len() >= BLOCK {
            finish(&mut block, &mut file)?;
        }
    }
    if block.len() > BLOCK_HEADER {
        finish(&mut block, &mut file)?;
    }
    // An empty block is the end.
    finish(&mut block, &mut file)?;
    file.flush()
}

/// Makes room for the header of a block.
fn begin(block: &mut Vec<u8>) {
    block.clear();
    block.resize(BLOCK_HEADER, 0);
}

/// Writes a block, and begins the next one.
fn finish(block: &mut Vec<u8>, file: &mut impl Write) -> io::Result<()> {
    let (mut header, payload) = block.split_at_mut(BLOCK_HEADER);
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    header.put_u32(length);
    header.put_u32(crc32fast::hash(payload));
    file.write_all(block)?;
    begin(block);
    block.shrink_to(2 * BLOCK);
    Ok(())
}

/// Reads a file of `size` bytes and hands its records over, up to the first damage.
///
/// The time since it was written, with `now` in nanoseconds since 1970, is taken off the delays.
pub(super) fn read(
    mut file: impl Read,
    size: u64,
    now: i64,
    take: &mut dyn FnMut(Record),
) -> Result<(), DamageError> {
    let mut head = [0; MAGIC.len() + 2 + 8];
    file.read_exact(&mut head)?;
    let crc = read_u32(&mut file)?;
    let mut fields = &head[..];
    let mut magic = [0; MAGIC.len()];
    fields.copy_to_slice(&mut magic);
    if magic != MAGIC {
        return Err(DamageError::Magic);
    }
    let version = fields.get_u16();
    if version != VERSION {
        return Err(DamageError::Version(version));
    }
    if crc32fast::hash(&head) != crc {
        return Err(DamageError::Checksum);
    }
    let written = fields.get_i64();
    // A clock that was set back counts as no time.
    let elapsed = Duration::from_nanos(u64::try_from(now.saturating_sub(written)).unwrap_or(0));

    let mut in_topic = false;
    loop {
        let mut payload = read_block(&mut file, size)?;
        if payload.is_empty() {
            break;
        }
        while !payload.is_empty() {
            let mut record = Record::decode(&mut payload)?;
            match &mut record {
                Record::Topic { .. } => in_topic = true,
                _ if !in_topic => return Err(DamageError::NoTopic),
                Record::Channel { .. } => {}
                Record::Message(saved) => saved.delay = saved.delay.saturating_sub(elapsed),
            }
            take(record);
        }
    }
    match file.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(DamageError::Trailing),
        Err(error) => Err(error.into()),
    }
}

/// Reads a block and checks it. No file has a block that is longer than itself, so `size` bounds the memory.
fn read_block(file: &mut impl Read, size: u64) -> Result<Bytes, DamageError> {
    let length = read_u32(file)?;
    let crc = read_u32(file)?;
    if u64::from(length) > size {
        return Err(DamageError::Truncated);
    }
    let mut payload = Vec::with_capacity(length as usize);
    file.take(u64::from(length)).read_to_end(&mut payload)?;
    if payload.len() < length as usize {
        return Err(DamageError::Truncated);
    }
    if crc32fast::hash(&payload) != crc {
        return Err(DamageError::Checksum);
    }
    Ok(payload.into())
}

fn read_u32(file: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}
