//! What a message holds: one byte string in MessagePack, as the framework writes a payload and the bare consumer can read
//! it too. It begins with the number of the message and the time of its publish.

use bytes::Bytes;
use serde_bytes::ByteBuf;

/// The fewest bytes of a message.
pub const SMALLEST: usize = STAMP + 2;
const STAMP: usize = 2 * size_of::<u64>();

/// What a message begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub number: u64,
    /// Nanoseconds since the benchmark began; zero where it is not timed.
    pub time: u64,
}

impl Stamp {
    /// A value that makes a message of `size` bytes.
    pub fn value(self, size: usize) -> ByteBuf {
        let mut value = vec![b'x'; (size - header_of(size).len()).max(STAMP)];
        self.write(&mut value);
        ByteBuf::from(value)
    }

    /// A message of `size` bytes.
    pub fn message(self, size: usize) -> Bytes {
        let header = header_of(size);
        let mut message = vec![b'x'; size.max(header.len() + STAMP)];
        let (front, value) = message.split_at_mut(header.len());
        front.copy_from_slice(&header);
        self.write(value);
        message.into()
    }

    fn write(self, value: &mut [u8]) {
        value[..8].copy_from_slice(&self.number.to_be_bytes());
        value[8..STAMP].copy_from_slice(&self.time.to_be_bytes());
    }

    /// The stamp that a value begins with.
    pub fn of_value(value: &[u8]) -> Option<Self> {
        let (number, rest) = value.split_first_chunk()?;
        Some(Self {
            number: u64::from_be_bytes(*number),
            time: u64::from_be_bytes(*rest.first_chunk()?),
        })
    }

    /// The stamp of a message.
    pub fn of_message(message: &[u8]) -> Option<Self> {
        let header = match message.first()? {
            0xc4 => 2,
            0xc5 => 3,
            0xc6 => 5,
            _ => return None,
        };
        Self::of_value(message.get(header..)?)
    }
}

/// How MessagePack begins a byte string that has `size` bytes with its beginning.
fn header_of(size: usize) -> Vec<u8> {
    match size {
        ..258 => vec![0xc4, (size - 2) as u8],
        258..65539 => [&[0xc5], &((size - 3) as u16).to_be_bytes()[..]].concat(),
        _ => [&[0xc6], &((size - 5) as u32).to_be_bytes()[..]].concat(),
    }
}
